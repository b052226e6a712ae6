"""One number that makes a classifier's probabilities fit what happens: its temperature.

Temperature scaling of Guo et al. 2017, section 4.2: logits over the temperature, which minimizes
the negative log-likelihood of documents that were not trained on.
"""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

# Where every answer is right the likelihood knows no best sharpness, and where all are at random
# none is blunt enough.
_LOWEST, _HIGHEST = 0.05, 20.0


@dataclass(frozen=True)
class Calibration:
    """A fitted temperature.

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


def fit_temperature(logits: npt.ArrayLike, references: npt.ArrayLike) -> Calibration:
    """Find the temperature under which true labels are likeliest.

    Args:
        logits: At temperature 1, float (D, C); at least one document.
        references: Label numbers, integers (D); or of several labels 0 and 1 for each (D, C).

    Returns:
        A temperature from 0.05 to 20, and how likely the labels are without and with it.
    """
    from scipy.optimize import minimize_scalar

    scores, true = np.asarray(logits, dtype=np.float64), np.asarray(references)
    if true.ndim == 1:
        margins = scores - scores[np.arange(len(true)), true][:, None]
    else:
        # Each label on its own: that it is there against that it is not.
        margins = np.stack([np.zeros_like(scores), np.where(true == 1, -scores, scores)], axis=-1)

    def loss(sharpness: float) -> float:
        return float(np.logaddexp.reduce(sharpness * margins, axis=-1).mean())

    # It is convex in the inverse of the temperature.
    found = minimize_scalar(
        loss, bounds=(1 / _HIGHEST, 1 / _LOWEST), method="bounded", options={"xatol": 1e-9}
    )
    return Calibration(1 / float(found.x), len(true), before=loss(1.0), after=loss(found.x))
