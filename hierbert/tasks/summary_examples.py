"""Some summaries of a model beside their references."""

from collections.abc import Mapping, Sequence
from typing import Any

from hierbert.scoring.metric import METRICS
from hierbert.tasks.prepared import PreparedDocument

_MOST_REFERENCES = 3


def summary_examples(
    documents: Sequence[PreparedDocument],
    summaries: Sequence[str],
    references: Sequence[Sequence[str]],
    scores: Sequence[Mapping[str, float]],
    metric: str,
) -> list[dict[str, Any]]:
    """The best, the middle and the worst summary by a metric; of fewer than three, all.

    Args:
        documents: Those with a reference (D).
        summaries: The model's (D).
        references: One or several of each (D).
        scores: By metric, of each summary (D).
        metric: Which of them.

    Returns:
        Of each `which`, `id`, `metric` (its title), `score`, `summary`, and at most three
        `references`.
    """
    sign = -1 if METRICS[metric].better == "higher" else 1
    order = sorted(range(len(documents)), key=lambda place: sign * scores[place][metric])
    named = {"Best": order[0], "Worst": order[-1], "In the middle": order[len(order) // 2]}
    shown = {place: which for which, place in named.items()}
    return [
        {
            "which": shown[place],
            "id": documents[place].id,
            "metric": METRICS[metric].title,
            "score": scores[place][metric],
            "summary": summaries[place],
            "references": list(references[place][:_MOST_REFERENCES]),
        }
        for place in order
        if place in shown
    ]
