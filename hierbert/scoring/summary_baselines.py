"""What a trained model's summaries have to beat: scores of sentences, under the model's budget.

Invariant: those that learn nothing depend on the document (Random: on its id and the seed) only.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hierbert.model.segmentation import SegmentedDocument
from hierbert.scoring.baselines import centroid, lexrank, textrank
from hierbert.scoring.logistic import Floats
from hierbert.scoring.sentence_models import (
    LabelledSentences,
    ReadVectors,
    scores_by_place,
    scores_by_vectors,
    scores_by_words,
)

Score = Callable[[Sequence[str], str, int], Sequence[float]]
"""Called with a document's sentences, its id and the run's seed: one score per sentence."""


@dataclass(frozen=True)
class RedundantBaseline:
    """A baseline that is kept from saying things twice.

    Attributes:
        score: As any other.
        redundancy: Weight of maximal marginal relevance over words, 0 to 1.
    """

    score: Score
    redundancy: float


@dataclass(frozen=True)
class LearntBaseline:
    """A baseline that learns from training documents; it is asked where there are some.

    Attributes:
        scores: Called with those, the documents to answer and what reads sentence vectors (of a
            frozen encoder, else None): a score for each sentence of these, (N,); None where it
            has nothing to learn from.
        reads_vectors: Whether it is left out where there are no vectors.
    """

    scores: Callable[
        [LabelledSentences, Sequence[SegmentedDocument], ReadVectors | None], Floats | None
    ]
    reads_vectors: bool = False


def _random(sentences: Sequence[str], document_id: str, seed: int) -> list[float]:
    """Scores drawn anew for each document, the same in every run."""
    digest = hashlib.sha256(f"{seed}:{document_id}".encode(errors="surrogatepass")).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    return generator.random(len(sentences)).tolist()


SUMMARY_BASELINES: dict[str, Score | RedundantBaseline | LearntBaseline] = {
    "Random": _random,
    "Lead": lambda sentences, document_id, seed: [-float(i) for i in range(len(sentences))],
    "Tail": lambda sentences, document_id, seed: [float(i) for i in range(len(sentences))],
    "Lead + tail": lambda sentences, document_id, seed: [
        -float(min(i, len(sentences) - 1 - i)) for i in range(len(sentences))
    ],
    "TextRank": lambda sentences, document_id, seed: textrank(sentences),
    "LexRank": lambda sentences, document_id, seed: lexrank(sentences),
    "Centroid + MMR": RedundantBaseline(
        lambda sentences, document_id, seed: centroid(sentences), redundancy=0.5
    ),
    "Position prior": LearntBaseline(scores_by_place),
    "Words": LearntBaseline(scores_by_words),
    "Vectors": LearntBaseline(scores_by_vectors, reads_vectors=True),
}
"""By the name in tables, in their order."""


def learnt_scores(
    train: LabelledSentences, asked: Sequence[SegmentedDocument], vectors: ReadVectors | None
) -> dict[str, list[Floats]]:
    """Of each baseline that learns the scores of each document's sentences, by its name.

    Without training documents nothing is learnt; without `vectors` what reads them is left out.
    """
    ends = np.cumsum([len(one.sentence_spans) for one in asked])[:-1]
    found = {}
    for name, baseline in SUMMARY_BASELINES.items():
        if not isinstance(baseline, LearntBaseline) or not train.documents:
            continue
        if baseline.reads_vectors and vectors is None:
            continue
        if (scores := baseline.scores(train, asked, vectors)) is not None:
            found[name] = np.split(scores, ends)
    return found
