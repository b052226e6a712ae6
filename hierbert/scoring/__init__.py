"""How good answers are: metrics, baselines, and how far the figures can be trusted.

Everything takes plain lists and arrays. A metric is one entry of `METRICS`; a baseline is one of
`baselines.SUMMARY_BASELINES` or `baselines.LABEL_BASELINES`.
"""

from hierbert.scoring.labels import confusion_matrix, label_scores, per_label_table
from hierbert.scoring.metric import METRICS, Metric, add_metrics, metrics_of, shown_metrics
from hierbert.scoring.rouge import summary_scores

__all__ = [
    "METRICS",
    "Metric",
    "add_metrics",
    "confusion_matrix",
    "label_scores",
    "metrics_of",
    "per_label_table",
    "shown_metrics",
    "summary_scores",
]
