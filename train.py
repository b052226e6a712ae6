"""Train HierBERT: python train.py --config configs/quickstart.yaml (see --help)."""

from hierbert.cli.train import main

if __name__ == "__main__":
    raise SystemExit(main())
