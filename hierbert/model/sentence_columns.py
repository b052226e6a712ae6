"""What is counted of each sentence: its place, its form, and how much it says of its document.

Computed from a document alone, in time and memory linear in its sentences.
"""

import re
from itertools import accumulate

import torch
from torch import Tensor

from .ragged import group_mean, group_of_unit
from .segmentation import SegmentedDocument
from .selection import count_words
from .sentence_kinds import KINDS

_TENTHS = 10
# The first and last sentences of a document are marked, and what stands at its beginning in full.
_ENDS = (1, 3, 10)
_BEGINNING = 20
_DIGIT = re.compile(r"\d")
_CITATION = re.compile(r"\(\d{4}|\b(?:19|20)\d\d[a-z]?\)|\[\d+\]|\bet al\b")
_POINTS_AT = re.compile(r"\b(?:table|figure|fig\.|section|eq\.|equation|appendix)\b", re.IGNORECASE)
_QUOTED = re.compile(r"[\"“”«»„]")
_STOPPED = re.compile(r"[.!?…。！？।؟][\"'”’»)\]]*\s*\Z")
_ASKS = re.compile(r"[?？؟][\"'”’»)\]]*\s*\Z")
_MARK = re.compile(r"[^\w\s]")
COLUMN_KINDS = (*["place"] * 28, *["form"] * (len(KINDS) + 12), *["centrality"] * 3)
"""What each column of a sentence says something of."""
COLUMNS = len(COLUMN_KINDS)
# Of values that are all alike; a spread of rounding alone is none.
_LEAST_SPREAD = 1e-2


def headings_of(document: SegmentedDocument) -> Tensor:
    """Of each sentence the nearest heading before it, -1 where there is none, int64 (N,)."""
    kinds = document.sentence_kinds
    own = (index if kind == "heading" else -1 for index, kind in enumerate(kinds))
    above = list(accumulate(own, max, initial=-1))[: len(kinds)]
    return torch.tensor(above, dtype=torch.int64)


def sentence_columns(document: SegmentedDocument, hashes: Tensor, words: Tensor) -> Tensor:
    """What is counted of each sentence, float32 (N, COLUMNS).

    Args:
        document: Of N sentences, at least one.
        hashes: Of their words, int64 (W,); see `words.word_hashes`.
        words: How many each sentence has, int64 (N,).
    """
    return torch.cat(
        [
            _place(len(words)),
            _surroundings(document),
            _form(document, hashes, words),
            _centrality(hashes, words),
        ],
        1,
    )


def standing_out(values: Tensor, lengths: Tensor) -> Tensor:
    """Values less the mean of their group, over its spread, float32 (N, K) like the values.

    Args:
        values: float32 (N, K).
        lengths: Rows of each group, int64 (G,), with the sum N.
    """
    apart, spread = around_mean(values, lengths)
    return apart / spread


def around_mean(values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Values less the mean of their group, and their spread in it, never 0; as `standing_out`."""
    groups = group_of_unit(lengths)
    apart = values - group_mean(values, lengths)[groups]
    spread = group_mean(apart * apart, lengths).sqrt()[groups]
    return apart, spread + _LEAST_SPREAD


def _place(count: int) -> Tensor:
    """Where in its document each sentence is."""
    before = torch.arange(count, dtype=torch.float32)
    after = count - 1 - before
    tenth = (before * _TENTHS / count).long().clamp(max=_TENTHS - 1)
    return torch.cat(
        [
            torch.stack(
                [
                    before / count,
                    after / count,
                    before.log1p(),
                    after.log1p(),
                    torch.full((count,), float(count)).log(),
                    *((end < most).float() for end in (before, after) for most in _ENDS),
                ],
                1,
            ),
            torch.nn.functional.one_hot(tenth, _TENTHS).float(),
        ],
        1,
    )


def _surroundings(document: SegmentedDocument) -> Tensor:
    """Paragraph, section and kind."""
    spans, text = document.sentence_spans, document.text
    gaps = [
        text[before:start]
        for before, (start, _) in zip([0, *(end for _, end in spans)], spans, strict=False)
    ]
    begins = torch.tensor([not index or "\n" in gap for index, gap in enumerate(gaps)])
    paragraph = begins.long().cumsum(0).float()
    ends = torch.cat([begins[1:], torch.ones(1, dtype=torch.bool)])
    kinds = torch.tensor([KINDS.index(kind) for kind in document.sentence_kinds])
    above = headings_of(document)
    is_heading = kinds == KINDS.index("heading")
    # Sections are numbered from 0, what stands before the first heading included.
    section = is_heading.long().cumsum(0)
    index = torch.arange(len(spans))
    sizes = section.bincount()
    since = index - (sizes.cumsum(0) - sizes)[section]
    return torch.cat(
        [
            torch.stack(
                [
                    paragraph / (paragraph[-1] + 1),
                    begins.float(),
                    ends.float(),
                    (index - above.clamp(min=0)).float().log1p(),
                    (above >= 0).float(),
                    section.float() / (section[-1] + 1),
                    since.float() / sizes[section],
                ],
                1,
            ),
            torch.nn.functional.one_hot(kinds, len(KINDS)).float(),
        ],
        1,
    )


def _form(document: SegmentedDocument, hashes: Tensor, words: Tensor) -> Tensor:
    """Length, and what a sentence is written with."""
    sentences = document.sentences
    owners = group_of_unit(words)
    different = (owners * 2**32 + hashes).unique() // 2**32
    distinct = torch.bincount(different, minlength=len(words))
    long = torch.tensor([float(count_words(text)) for text in sentences]).log1p()
    rows = [
        (
            len(_DIGIT.findall(text)) / max(1, len(text)),
            sum(map(str.isupper, text)) / max(1, len(text)),
            len(_MARK.findall(text)) / max(1, len(text)),
            _CITATION.search(text) is not None,
            _POINTS_AT.search(text) is not None,
            _QUOTED.search(text) is not None,
            _STOPPED.search(text) is not None,
            _ASKS.search(text) is not None,
            text[:1].isupper(),
        )
        for text in sentences
    ]
    return torch.cat(
        [
            torch.stack([long, long**2, distinct / words.clamp(min=1)], 1),
            torch.tensor(rows, dtype=torch.float32),
        ],
        1,
    )


def _centrality(hashes: Tensor, words: Tensor) -> Tensor:
    """Cosines of a sentence's words to the mean of all sentences, and to that of the first.

    Words weigh by how few sentences of the document have them.
    """
    count = len(words)
    known, terms = hashes.unique(return_inverse=True)
    # Each pair of a sentence and a word once, with how often it occurs.
    keys, occurring = (group_of_unit(words) * max(1, len(known)) + terms).unique(return_counts=True)
    owners, terms = keys // max(1, len(known)), keys % max(1, len(known))
    having = terms.bincount(minlength=len(known)).float()
    weights = occurring.float() * ((1 + count) / (1 + having)).log()[terms]
    squares = torch.zeros(count).index_add(0, owners, weights * weights)
    weights = weights / squares.sqrt().clamp(min=1e-9)[owners]
    first = owners < max(1, count // _BEGINNING)
    found = []
    for chosen in (torch.ones_like(first), first):
        center = torch.zeros(len(known)).index_add(0, terms[chosen], weights[chosen])
        center = center / center.norm().clamp(min=1e-9)
        found.append(torch.zeros(count).index_add(0, owners, weights * center[terms]))
    cosines = torch.stack(found, 1)
    return torch.cat([cosines[:, :1], standing_out(cosines, torch.tensor([count]))], 1)
