"""Benchmarks, as a package: one that another project installs is not taken for it."""
