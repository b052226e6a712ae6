"""What is highlighted in a document: its evidence and its summary, and where that stands."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hierbert.pages.shell import category

SUMMARY = "summary"
_PARTS = {"words": "word", "sentences": "sentence", "segments": "segment"}
# What lies on top where several meet.
_ORDER = ("word", "sentence", SUMMARY, "segment")
_LONGEST_EXCERPT = 140


@dataclass(frozen=True)
class Highlight:
    """One thing that is highlighted, at one place or several.

    Attributes:
        number: Over all of the page, from 0.
        kind: "word", "sentence", "segment" or "summary".
        group: Number of the label it is evidence of; -1 for the summary.
        rank: From 1, among those of its kind and group.
        value: Its signed contribution, or a sentence's score.
        weight: Its strength beside the strongest of its kind and group, 0 to 1.
        spans: Where it stands in characters.
        excerpt: Its text, cut.
        tip: What is said about it.
    """

    number: int
    kind: str
    group: int
    rank: int
    value: float
    weight: float
    spans: Sequence[tuple[int, int]]
    excerpt: str
    tip: str

    @property
    def tag(self) -> str:
        """A short name: A1 is the strongest sentence of the first label, Σ1 of the summary."""
        if self.kind == SUMMARY:
            return f"Σ{self.rank}"
        sign = "§" if self.kind == "segment" else ""
        return f"{sign}{category(self.group).letter}{self.rank}"

    @property
    def layer(self) -> tuple[int, float]:
        """The lowest lies on top."""
        return _ORDER.index(self.kind), -self.weight


@dataclass(frozen=True)
class Group:
    """A label whose evidence is told: its `number`, name, logit, and highlights by kind."""

    number: int
    label: str
    logit: float | None
    segments: list[Highlight]
    sentences: list[Highlight]
    words: list[Highlight]


def signed(value: float) -> str:
    """A contribution in three digits, with its sign."""
    text = f"{value:+.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:+.1g}"
    return text.replace("-", "−")


def isolated(text: str) -> str:
    """A text that does not turn the direction of what stands around it."""
    return f"\u2068{text}\u2069"


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, as one where they overlap."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def find_highlights(text: str, answer: Mapping[str, Any]) -> tuple[list[Group], list[Highlight]]:
    """Those of a row of answers: the evidence by label, and the summary's sentences."""
    count = 0
    groups = []

    def made(kind: str, group: int, name: str, unit: str, parts: Sequence[Any]) -> list[Highlight]:
        nonlocal count
        key = "score" if kind == SUMMARY else "contribution"
        values = [float(part[key]) for part in parts]
        most = max(map(abs, values), default=0) or 1.0
        found = []
        for rank, (part, value) in enumerate(zip(parts, values, strict=True), 1):
            places = part["spans"] if "spans" in part else [(part["start"], part["end"])]
            spans = _merged((a, b) for a, b in places if 0 <= a < b <= len(text))
            what = f"{kind} {rank} of {len(parts)}"
            if kind == SUMMARY:
                tip = f"sentence {rank} of the summary, score {value:.2f}"
            else:
                side = "against" if value < 0 else "for"
                tip = f"{isolated(name)}: {what}, {signed(value)}{unit}, speaks {side} it"
            if kind == "word" and part["count"] > 1:
                tip += f" in {part['count']:,} places together"
            excerpt = part.get("text") or text[slice(*places[0])]
            excerpt = " ".join(excerpt[: 4 * _LONGEST_EXCERPT].split())
            if kind != SUMMARY and len(excerpt) > _LONGEST_EXCERPT:
                excerpt = excerpt[:_LONGEST_EXCERPT].rstrip() + "…"
            weight = abs(value) / most
            found.append(Highlight(count, kind, group, rank, value, weight, spans, excerpt, tip))
            count += 1
        return found

    for number, one in enumerate(answer.get("evidence") or ()):
        name, logit = str(one["label"]), one.get("logit")
        unit = "" if logit is None else " logits"
        parts = {
            key: made(kind, number, name, unit, one.get(key) or ()) for key, kind in _PARTS.items()
        }
        groups.append(Group(number, name, logit, **parts))
    summary = made(SUMMARY, -1, "", "", answer.get("sentences") or ())
    return groups, summary
