"""``python -m hierbert``: the commands of hierbert."""

from hierbert.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
