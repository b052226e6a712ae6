"""What the predictor answers about one document; plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hierbert.model.segmentation import Omission
from hierbert.model.summarization_head import SummarySentence
from hierbert.pages.document import notebook_view
from hierbert.prediction.rewriting import RewrittenSentence


@dataclass(frozen=True)
class Prediction:
    """All that was asked about one document; what was not asked is None. In the order of a row.

    Attributes:
        label: The likeliest label; for regression the number.
        labels: Multi-label: those that reach their thresholds, likeliest first.
        path: Of a tree of labels, the nodes from the top down to `label`; empty where none is
            likely enough, with a `label` of None.
        paths: Of a tree with several paths a document, that to each of `labels`.
        abstained: Whether the likeliest label is too unlikely to be named: then `label` is None;
            None where every answer names one.
        probabilities: Of every label; of a tree those of the answer, of what stands beside them,
            and of others from 0.01 on; None for regression.
        top_labels: The likeliest first, each with `label` and `probability`.
        evidence: Of each label of the answer, and of those asked for, its `label`, its `logit`, and
            the strongest `segments` and `sentences`, each with `start`, `end` and `contribution`,
            and `words`, each with `text`, `contribution`, `count` and `spans`; see
            docs/evidence.md.
        summary: The sentences joined by newlines, each on one line.
        sentences: The summary's sentences, in its order; the pieces of one that was cut.
        rewritten: The summary as prose of another model, a sentence a line; None where that was not
            asked for, as the next.
        rewritten_sentences: Its sentences, each with those of `sentences` that it comes from.
        over_limit: True where the summary is longer than its limit, as every word of the document
            is; else None.
        query_unmatched: True where no word of what was asked is in the document; else None.
        others: What heads of other kinds answer, by the name of the row's field; also to be had
            as attributes.
        document_vector: H numbers.
        segment_vectors: S lists of H numbers, after the encoder and before the aggregator.
        segment_spans: Start and end of each segment in characters.
        omission: What `max_segments` left out of the document; None when nothing was.
        text: The document, which all spans point into; in no row.
    """

    label: str | float | None = None
    labels: list[str] | None = None
    path: list[str] | None = None
    paths: list[list[str]] | None = None
    abstained: bool | None = None
    probabilities: dict[str, float] | None = None
    top_labels: list[dict[str, Any]] | None = None
    evidence: list[dict[str, Any]] | None = None
    summary: str | None = None
    sentences: list[SummarySentence] | None = None
    rewritten: str | None = None
    rewritten_sentences: list[RewrittenSentence] | None = None
    over_limit: bool | None = None
    query_unmatched: bool | None = None
    others: Mapping[str, Any] = field(default_factory=dict)
    document_vector: list[float] | None = None
    segment_vectors: list[list[float]] | None = None
    segment_spans: list[tuple[int, int]] | None = None
    omission: Omission | None = None
    text: str | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls, answers: Mapping[str, Any], omission: Omission | None, text: str | None = None
    ) -> "Prediction":
        """Make a prediction of the fields that heads answer."""
        own = {each.name for each in fields(cls)}
        return cls(
            **{name: value for name, value in answers.items() if name in own},
            omission=omission,
            text=text,
            others={name: value for name, value in answers.items() if name not in own},
        )

    def __getattr__(self, name: str) -> Any:
        others = self.__dict__.get("others", {})
        if name in others:
            return others[name]
        raise AttributeError(f"a prediction has no {name!r}")

    def row(self) -> dict[str, Any]:
        """It as plain values, in the order of a row; what was not asked is left out."""
        row: dict[str, Any] = {}
        for name, value in vars(self).items():
            if name == "others":
                row |= value
            elif name in ("sentences", "rewritten_sentences") and value is not None:
                row[name] = [vars(sentence) for sentence in value]
            elif name != "text" and (value is not None or (name == "label" and self._has_none)):
                row[name] = vars(value) if name == "omission" else value
        return row

    @property
    def _has_none(self) -> bool:
        """Whether the answer is that there is no label."""
        return bool(self.abstained) or self.path == []

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return notebook_view(self.text or "", self.row())
