"""Train HierBERT: python train.py --config configs/quickstart.yaml (see --help)."""

from hierbert.training.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
