"""A look at the documents of a run before it trains: what would fail, and what would mislead."""
