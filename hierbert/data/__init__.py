"""Corpora as they come: where they lie, their rows, their documents, their labels, their splits.

Arrows run one way: `sources` (what a config names) -> `streams` (bytes to text) -> `readers`
(text to rows) -> `corpus` (rows to examples) -> `labels`, `splits`. Nothing here knows of tokens.
"""
