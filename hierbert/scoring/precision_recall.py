"""What is found and what of it is right, by the probability from which labels apply."""

from typing import Any

import numpy as np
import numpy.typing as npt

_POINTS = 50


def precision_recall(
    probabilities: npt.ArrayLike, references: npt.ArrayLike, predictions: npt.ArrayLike
) -> dict[str, Any]:
    """The precision-recall curve of all labels together, under one threshold for all of them.

    Probabilities are float (D, C); references, and predictions under the thresholds that were
    chosen, 0 and 1 (D, C). Gives `points`, at most 50, each with `threshold`, `precision` and
    `recall`, by falling threshold; and `chosen`, `precision` and `recall` of the predictions. Empty
    where no label applies.
    """
    from sklearn.metrics import precision_recall_curve

    true, given = np.asarray(references).ravel(), np.asarray(predictions).ravel()
    if not true.any():
        return {}
    shares = np.asarray(probabilities, dtype=np.float64).ravel()
    precision, recall, thresholds = precision_recall_curve(true, shares)
    # Evenly along the recall, which the reader sees, not along the thresholds.
    wanted = np.searchsorted(-recall[:-1], -np.linspace(0, 1, _POINTS), side="right") - 1
    places = sorted(set(wanted.clip(0).tolist()), reverse=True)
    hits = int((true & given).sum())
    return {
        "points": [
            {
                "threshold": float(thresholds[place]),
                "precision": float(precision[place]),
                "recall": float(recall[place]),
            }
            for place in places
        ],
        "chosen": {
            "precision": hits / int(given.sum()) if given.any() else 0.0,
            "recall": hits / int(true.sum()),
        },
    }
