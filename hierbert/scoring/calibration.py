"""One number that makes a classifier's probabilities fit what happens: its temperature.

Temperature scaling of Guo et al. 2017, section 4.2: logits over the temperature, which minimizes
the negative log-likelihood of documents that were not trained on. Where these are few and all are
answered rightly, no sharpness would be enough: a penalty keeps the temperature near 1 until they
say otherwise.
"""

import numpy as np
import numpy.typing as npt

# Where all answers are at random, none is blunt enough.
_LOWEST, _HIGHEST = 0.05, 20.0
# Nats in all for a sharpness s: this times (s + 1/s - 2), which is 0 at 1 and convex. Labels of one
# document go together: it counts once, however many there are.
_PENALTY = 2.0


def fit_temperature(logits: npt.ArrayLike, references: npt.ArrayLike) -> dict[str, float]:
    """Find the temperature under which true labels are likeliest, less a penalty.

    Logits are at temperature 1, float (D, C); references label numbers, integers (D), or 0 and 1
    for each of several labels (D, C). Gives `temperature`, from 0.05 to 20, by which logits are to
    be divided; `documents` that it was fitted on; and the mean negative log-likelihood of their
    labels (of several labels: over all of them), in nats, `before` (at temperature 1) and `after`.
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

    def penalized(sharpness: float) -> float:
        return loss(sharpness) + _PENALTY / len(true) * (sharpness + 1 / sharpness - 2)

    # It is convex in the inverse of the temperature.
    found = minimize_scalar(
        penalized, bounds=(1 / _HIGHEST, 1 / _LOWEST), method="bounded", options={"xatol": 1e-9}
    )
    return {
        "temperature": 1 / float(found.x),
        "documents": len(true),
        "before": loss(1.0),
        "after": loss(found.x),
    }
