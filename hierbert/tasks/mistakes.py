"""What a model was surest of, and wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hierbert.tasks.prepared import PreparedDocument

_MOST = 10
_EXCERPT_CHARACTERS = 300


def surest_mistakes(
    documents: Sequence[PreparedDocument],
    probabilities: npt.NDArray[np.float64],
    predictions: npt.NDArray[Any],
    references: npt.NDArray[Any],
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """Wrong answers about labels, at most 10, the surest first.

    Args:
        documents: The labelled ones (D).
        probabilities: Of each label (D, C).
        predictions: Label numbers (D), or 0 and 1 for each label (D, C).
        references: The same of what is true.
        names: Of the labels (C).

    Returns:
        Of each `id`, `true`, `answer`, the `probability` of the answer, the `labels` that it is
        about, an `excerpt` and the `text`, or its sentences where these were given. Of several
        labels a mistake is about one of them, which "not" stands before where it does not apply.
    """
    wrong = np.argwhere(predictions != references)
    several = predictions.ndim == 2
    if several:
        of_label = probabilities[tuple(wrong.T)]
        sure = np.where(predictions[tuple(wrong.T)] == 1, of_label, 1 - of_label)
    else:
        sure = probabilities[wrong[:, 0], predictions[wrong[:, 0]]]
    found = []
    for place in np.argsort(-sure, kind="stable")[:_MOST]:
        number, *label = wrong[place].tolist()
        if several:
            there = bool(references[number, label[0]])
            name = names[label[0]]
            true, answer = (name, f"not {name}") if there else (f"not {name}", name)
        else:
            true, answer = names[references[number]], names[predictions[number]]
        found.append(
            {
                "id": documents[number].id,
                "true": true,
                "answer": answer,
                "probability": float(sure[place]),
                "labels": [name] if several else [answer, true],
                **_texts(documents[number]),
            }
        )
    return found


def largest_errors(
    documents: Sequence[PreparedDocument],
    predictions: npt.NDArray[np.float64],
    references: npt.NDArray[np.float64],
) -> list[dict[str, Any]]:
    """The answers farthest from the true numbers, at most 10; as `surest_mistakes`, by `error`."""
    errors = predictions - references
    return [
        {
            "id": documents[number].id,
            "true": f"{references[number]:.4g}",
            "answer": f"{predictions[number]:.4g}",
            "error": float(errors[number]),
            "labels": [],
            **_texts(documents[number]),
        }
        for number in np.argsort(-np.abs(errors), kind="stable")[:_MOST]
        if errors[number]
    ]


def _texts(document: PreparedDocument) -> dict[str, Any]:
    segmented, text = document.segmented, document.segmented.text
    given = [text[start:end] for start, end in segmented.sentence_spans]
    return {"excerpt": excerpt(document), "text": given if segmented.given_sentences else text}


def excerpt(document: PreparedDocument) -> str:
    """How a document begins."""
    text = document.segmented.text
    # White space may be most of it.
    words = " ".join(text[: 4 * _EXCERPT_CHARACTERS].split())
    if len(words) <= _EXCERPT_CHARACTERS and len(text) <= 4 * _EXCERPT_CHARACTERS:
        return words
    return f"{words[:_EXCERPT_CHARACTERS].rstrip()}…"
