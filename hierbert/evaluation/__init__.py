"""How good the answers are: metrics, baselines, and how sure one may be of a difference."""
