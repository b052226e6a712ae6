"""``python -m hierbert.publishing``: push a model to the Hub."""

from hierbert.cli.push import main

if __name__ == "__main__":
    raise SystemExit(main())
