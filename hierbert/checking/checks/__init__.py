"""One check a file: see `hierbert.checking.check`."""
