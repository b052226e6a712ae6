"""One number that makes a classifier's probabilities fit what happens: its temperature.

Labels stay as they are (but for multi-label thresholds other than 0.5); only probabilities move.
Temperature scaling of Guo et al. 2017, section 4.2: logits over the temperature, which minimizes
the negative log-likelihood of documents that were not trained on.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from hierbert.data.documents import PreparedDocument
from hierbert.data.labels import LabelMap
from hierbert.evaluation.answers import Answer

_Floats = npt.NDArray[np.float64]

# Where every answer is right the likelihood knows no best sharpness, and where all are at random
# none is blunt enough.
_LOWEST, _HIGHEST = 0.05, 20.0
_STEPS = 60
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Calibration:
    """What fitting found.

    Attributes:
        temperature: Logits are to be divided by it.
        documents: That it was fitted on.
        before: Mean negative log-likelihood of their labels at temperature 1, in nats; for
            multi-label the mean over all labels.
        after: The same at the fitted temperature.
    """

    temperature: float
    documents: int
    before: float
    after: float

    def to_dict(self) -> dict[str, float]:
        """The attributes by name."""
        return asdict(self)


def fit_temperature(
    answers: Sequence[Answer], documents: Sequence[PreparedDocument], label_map: LabelMap
) -> Calibration | None:
    """Find the temperature under which the labels of a corpus are likeliest.

    Args:
        answers: One for each document, in order, at temperature 1.
        documents: Those without a label are passed over.
        label_map: Single-label or multi-label.

    Returns:
        From 0.05 to 20; None without a labelled document.
    """
    labelled = [i for i, document in enumerate(documents) if document.label is not None]
    if not labelled:
        return None
    logits = np.array([answers[i].logits for i in labelled], dtype=np.float64)
    labels = [documents[i].label for i in labelled]
    if label_map.problem_type == "single_label":
        right = logits[np.arange(len(labels)), np.array(labels)]
        margins = logits - right[:, None]

        def likelihood(sharpness: float) -> float:
            return float(np.logaddexp.reduce(sharpness * margins, axis=1).mean())
    else:
        signs = -np.ones_like(logits)
        for row, names in enumerate(labels):
            signs[row, names] = 1.0

        def likelihood(sharpness: float) -> float:
            return float(np.logaddexp(0.0, -sharpness * signs * logits).mean())

    # It is convex in the inverse of the temperature.
    sharpness = _lowest_point(likelihood, 1 / _HIGHEST, 1 / _LOWEST)
    return Calibration(
        1 / sharpness, len(labelled), before=likelihood(1.0), after=likelihood(sharpness)
    )


def _lowest_point(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a convex function is lowest between two points (golden-section search)."""
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if function(left) <= function(right):
            high = right
        else:
            low = left
    return (low + high) / 2
