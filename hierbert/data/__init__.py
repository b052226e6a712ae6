"""Corpora as they come: where they lie, their rows, their documents, their splits.

Arrows run one way: `document` (what all share) -> `streams`, `folders` (bytes to text, names) ->
`readers`, `parquet`, `in_memory` (to rows) -> `sources`, `columns` -> `corpus` (rows to examples)
-> `splits`, `epoch_plan`.
"""
