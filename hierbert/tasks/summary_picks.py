"""What summaries are made of: where in documents their sentences were, and what repeats itself."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hierbert.model.selection import count_words
from hierbert.model.summarization_head import Candidate, summary_text
from hierbert.scoring.repetition import repeated_share
from hierbert.scoring.tables import grid

PARTS = 10
MODEL, ORACLE = "hierbert", "Oracle"


def summary_picks(
    extracts: Mapping[str, Sequence[Sequence[Candidate]]],
    sentences: Sequence[int],
    references: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """The "picks" of results.json.

    Args:
        extracts: By system, what the summary of each document is made of (D).
        sentences: How many each document has (D).
        references: Of each document (D).

    Returns:
        "systems": of each how many sentences were picked from each tenth of the documents
        ("places"), and means over documents of "sentences", "words" and "redundancy", which is
        `repeated_share`; "references": the latter two of the first reference of each; and, where
        the oracle is among the systems, "shared": of the model's sentences the part that are the
        oracle's ("precision"), and of the oracle's the part that are the model's ("recall").
    """
    found: dict[str, Any] = {"systems": {}}
    for name, own in extracts.items():
        places = np.zeros(PARTS, dtype=np.int64)
        for selected, count in zip(own, sentences, strict=True):
            for one in {candidate.sentence for candidate in selected}:
                places[PARTS * one // count] += 1
        found["systems"][name] = {
            "places": places.tolist(),
            "sentences": float(np.mean([len(selected) for selected in own])),
            **_facts([summary_text(selected) for selected in own]),
        }
    found["references"] = _facts([own[0] for own in references])
    if ORACLE in extracts:
        pairs = [
            [{one.sentence for one in selected} for selected in extracts[name]]
            for name in (MODEL, ORACLE)
        ]
        both = sum(len(own & best) for own, best in zip(*pairs, strict=True))
        sizes = [sum(map(len, own)) for own in pairs]
        found["shared"] = {
            name: both / size if size else 0.0
            for name, size in zip(("precision", "recall"), sizes, strict=True)
        }
    return found


def picks_rows(picks: Mapping[str, Any] | None) -> list[list[str]]:
    """Of each system the part of its sentences in each tenth of the documents, below a head."""
    if picks is None:
        return []
    rows = [["% of sentences from tenth", *(str(part + 1) for part in range(PARTS))]]
    for name, own in picks["systems"].items():
        total = max(1, sum(own["places"]))
        rows.append([name, *(f"{100 * count / total:.0f}" for count in own["places"])])
    return rows


def picks_table(picks: Mapping[str, Any] | None) -> Iterator[str]:
    """The same for a terminal, with what repeats itself and what the oracle has picked too."""
    if picks is None:
        return
    lines = [
        f"{name}: {own['words']:.0f} words, {100 * own['redundancy']:.1f} % of its pairs of words "
        "repeated"
        for name, own in [*picks["systems"].items(), ("References", picks["references"])]
    ]
    if shared := picks.get("shared"):
        precision, recall = (100 * shared[name] for name in ("precision", "recall"))
        lines.append(f"{precision:.0f} % of the picked are the oracle's, {recall:.0f} % of those")
    yield grid(picks_rows(picks), notes=lines)


def _facts(texts: Sequence[str]) -> dict[str, float]:
    return {
        "words": float(np.mean([count_words(text) for text in texts])),
        "redundancy": float(np.mean([repeated_share(text) for text in texts])),
    }
