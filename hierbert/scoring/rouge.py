"""ROUGE for texts in any script: F1 from 0 to 1, with the words of `rouge_words`.

Invariant: for ASCII text the scores are those of ``rouge_score`` with ``use_stemmer=True``.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from hierbert.scoring.metric import Metric, add_metrics, metrics_of


def summary_scores(
    predictions: Sequence[str], references: Sequence[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """Every metric of D summaries, for each document: float64 (D).

    Sentences of both are joined by newlines, which rougeLsum splits at. A ValueError where the
    numbers of texts differ.
    """
    return {metric.name: metric.score(predictions, references) for metric in metrics_of("summary")}


def _rouge(
    rouge_type: str, predictions: Sequence[str], references: Sequence[str]
) -> npt.NDArray[np.float64]:
    """F1 of each document; rougeL and rougeLsum take time with the product of both lengths."""
    # Not before a score is computed: the help of a command reads the table of metrics.
    from rouge_score.rouge_scorer import RougeScorer

    from hierbert.scoring.rouge_words import RougeWords

    scorer = RougeScorer([rouge_type], tokenizer=RougeWords())
    scores = [
        scorer.score(reference, prediction)[rouge_type].fmeasure
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    return np.array(scores, dtype=np.float64)


add_metrics(
    *(
        Metric(
            f"rouge{kind}",
            f"ROUGE-{kind}",
            ("summary",),
            partial(_rouge, f"rouge{kind}"),
            "rouge",
            headline=True,
            hub_factor=100,
        )
        for kind in ("1", "2", "L", "Lsum")
    )
)
