"""Run a trained HierBERT over documents: python infer.py --model runs/NAME/model (see --help)."""

from hierbert.cli.infer import main

if __name__ == "__main__":
    raise SystemExit(main())
