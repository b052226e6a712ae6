"""How good answers are: metrics, baselines, and how far the figures can be trusted.

Everything takes plain lists and arrays. A metric is one entry of `METRICS`, which the import of
this package fills; a baseline is one of `summary_baselines.SUMMARY_BASELINES`,
`label_baselines.LABEL_BASELINES` or `tree_baselines.TREE_BASELINES`.
"""

from hierbert.scoring import hierarchical, labels, rouge
from hierbert.scoring.metric import METRICS, Metric, add_metrics, shown_metrics

__all__ = ["METRICS", "Metric", "add_metrics", "hierarchical", "labels", "rouge", "shown_metrics"]
