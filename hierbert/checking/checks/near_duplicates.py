"""Documents that are nearly the same: MinHash of runs of words, in time linear in their number.

Of each document 64 numbers are kept (one-permutation MinHash, Li, Owen and Zhang 2012, its empty
bins filled from their neighbours, Shrivastava and Li 2014): the share of bins in which two agree
estimates which share of their runs of words they have in common. Documents that agree in all four
bins of any of 16 bands are compared (locality-sensitive hashing, Broder 1997, Indyk and Motwani
1998), each with a few others of its bucket, so that a corpus of one template costs no more. What
the estimate finds alike is counted exactly before it is told, by the runs themselves, which are
kept aside.
"""

import tempfile
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from hierbert.checking.check import Check, register_check
from hierbert.checking.corpus import CheckedCorpus, ReadDocument
from hierbert.checking.finding import Finding
from hierbert.model.words import word_hash

_RUN = 5
_BINS, _ROWS = 64, 4
# In all that two documents have of runs of five words. One word in 30 that is changed leaves 0.7.
ALIKE = 0.7
# By the estimate, whose standard deviation is 0.06.
_SEEMS_ALIKE = 0.55
# Of a document those that seem most alike are counted.
_COUNTED = 4
# Of fewer, what is alike is a form letter; equal ones are found by their hash.
_FEWEST_RUNS = 26
# All digits are alike in the words that are hashed, so that tables of numbers would be too.
_NUMBERS = np.array([word_hash("0" * digits) for digits in range(1, 16)], np.int64)
_MOST_NUMBERS = 2
# 256 bytes each.
_MOST_DOCUMENTS = 1_000_000
# Of all documents, four bytes each; the first are kept in memory.
_MOST_RUNS, _RUNS_IN_MEMORY = 1 << 28, 1 << 24
_OTHERS = 4
_MIX = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = np.uint32(0xFFFFFFFF)
# See `Finding.weight`.
_LEAK = 3
_Sketch = npt.NDArray[np.uint32]


@register_check
class NearDuplicates(Check):
    """Near-duplicates across splits and within them."""

    name = "near_duplicates"

    @override
    def begin(self) -> None:
        self._numbers: list[int] = []
        self._sketches: list[_Sketch] = []
        self._runs = KeptRuns()
        self._left_out = 0

    @override
    def add(self, document: ReadDocument) -> None:
        runs = sketched_runs(document.hashes)
        if len(runs) < _FEWEST_RUNS:
            return
        if len(self._numbers) == _MOST_DOCUMENTS or not self._runs.add(runs):
            self._left_out += 1
            return
        self._numbers.append(document.number)
        self._sketches.append(sketch(runs))

    @override
    def findings(self, corpus: CheckedCorpus) -> Iterable[Finding]:
        if self._left_out:
            yield Finding(
                "note",
                "near_duplicates_of_some",
                f"near-duplicates were looked for among {len(self._numbers):,} documents alone",
                counts={"documents": self._left_out},
            )
        if len(self._numbers) < 2:
            return
        across: dict[tuple[str, str], dict[int, tuple[int, float]]] = {}
        inside: dict[int, tuple[int, float]] = {}
        for splits, b, seeming in self._seeming(corpus):
            share, a = max(
                (self._runs.share(first, second), self._numbers[first])
                for _, first, second in sorted(seeming, reverse=True)[:_COUNTED]
            )
            if share >= ALIKE:
                pairs = inside if splits[0] == splits[1] else across.setdefault(splits, {})
                pairs[b] = a, share
        for (other, split), pairs in across.items():
            yield _finding(
                corpus,
                "warning",
                f"near_duplicates_of_{other}_in_{split}",
                pairs,
                f"are nearly the same as one of {other}: scores on them say little",
                f"leave them, or those of {other}, out",
            )
        if inside:
            yield _finding(
                corpus,
                "warning" if len(inside) > 0.05 * corpus.size else "note",
                "near_duplicates",
                inside,
                "are nearly the same as another of their split",
                "leave copies out, and keep versions of one text in one split",
            )

    def _seeming(
        self, corpus: CheckedCorpus
    ) -> Iterator[tuple[tuple[str, str], int, list[tuple[float, int, int]]]]:
        """Two splits, the number of a document of the second, and what seems like it in the first.

        Each of these is an estimated share, and the places of both, the other one first.
        """
        order = {split: place for place, split in enumerate(corpus.splits)}
        found = defaultdict(list)
        for first, second, share in similar_pairs(np.stack(self._sketches)):
            pair = first, second
            numbers = [self._numbers[place] for place in pair]
            if not all(number in corpus.split_of for number in numbers):
                continue
            if len({corpus.examples[number].text for number in numbers}) == 1:
                continue  # told as duplicates
            key = {
                place: (order[corpus.split_of[number]], number)
                for place, number in zip(pair, numbers, strict=True)
            }
            first, second = sorted(pair, key=key.__getitem__)
            number = self._numbers[second]
            splits = corpus.split_of[self._numbers[first]], corpus.split_of[number]
            found[splits, number].append((share, first, second))
        for (splits, number), seeming in found.items():
            yield splits, number, seeming


class KeptRuns:
    """The runs of documents, one after the other, beside the memory where they are many."""

    def __init__(self) -> None:
        # Closed by `tempfile` when nothing refers to it.
        self._file = tempfile.SpooledTemporaryFile(4 * _RUNS_IN_MEMORY)  # noqa: SIM115
        self._ends = array("q", [0])

    def add(self, runs: npt.NDArray[np.uint64]) -> bool:
        """Keep those of one more document; False where there is no room."""
        kept = np.unique((runs >> np.uint64(32)).astype(np.uint32))
        if self._ends[-1] + len(kept) > _MOST_RUNS:
            return False
        try:
            self._file.seek(4 * self._ends[-1])
            self._file.write(kept.tobytes())
        except OSError:  # no room on the disk, or no folder for what is temporary
            return False
        self._ends.append(self._ends[-1] + len(kept))
        return True

    def share(self, first: int, second: int) -> float:
        """Of all different runs that one of two documents has, those that both have."""
        one, other = self._read(first), self._read(second)
        both = len(np.intersect1d(one, other, assume_unique=True))
        return both / max(1, len(one) + len(other) - both)

    def _read(self, place: int) -> npt.NDArray[np.uint32]:
        start, end = self._ends[place], self._ends[place + 1]
        self._file.seek(4 * start)
        return np.frombuffer(self._file.read(4 * (end - start)), np.uint32)


def _finding(
    corpus: CheckedCorpus,
    severity: str,
    name: str,
    pairs: dict[int, tuple[int, float]],
    what: str,
    advice: str,
) -> Finding:
    numbers = sorted(pairs)
    found = corpus.finding(severity, name, numbers, what, advice, _LEAK * ("_of_" in name))
    found.examples[:] = [
        f"{corpus.examples[number].location} is {100 * pairs[number][1]:.0f} % "
        f"{corpus.examples[pairs[number][0]].location}"
        for number in numbers[:3]
    ]
    return found


def runs_of(hashes: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.uint64]:
    """A number of 64 bits for each run of so many words (W - length + 1,)."""
    words = hashes.astype(np.uint64)
    count = len(words) - length + 1
    runs = np.zeros(max(0, count), np.uint64)
    for place in range(length if count > 0 else 0):
        runs = (runs * _MIX) ^ words[place : place + count]
    # The bits of a product are mixed upwards alone.
    runs = (runs ^ (runs >> np.uint64(31))) * _MIX
    return runs ^ (runs >> np.uint64(29))


def sketched_runs(hashes: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """The runs of a text, but those that are mostly numbers."""
    runs = runs_of(hashes, _RUN)
    if not len(runs):
        return runs
    numbers = np.convolve(np.isin(hashes, _NUMBERS), np.ones(_RUN, np.int64), "valid")
    return runs[numbers <= _MOST_NUMBERS]


def sketch(runs: npt.NDArray[np.uint64]) -> _Sketch:
    """The least run of each bin, uint32 (64,), of a text's runs, at least one."""
    runs = np.unique(runs)
    bins = (runs >> np.uint64(58)).astype(np.int64)
    least = np.full(_BINS, _EMPTY)
    # In order, so that the first of each bin is the least.
    places, firsts = np.unique(bins, return_index=True)
    least[places] = ((runs[firsts] >> np.uint64(20)) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    # An empty bin takes what is in the next one that is not.
    index = np.searchsorted(places, np.arange(_BINS)) % len(places)
    filled: _Sketch = least[places[index]]
    return filled


def similar_pairs(sketches: npt.NDArray[np.uint32]) -> Iterator[tuple[int, int, float]]:
    """Places of documents that seem alike, and the estimated share of runs they have in common."""
    told: set[tuple[int, int]] = set()
    for start in range(0, _BINS, _ROWS):
        band = np.ascontiguousarray(sketches[:, start : start + _ROWS])
        keys = band.view(np.dtype((np.void, band.dtype.itemsize * _ROWS))).ravel()
        _, group = np.unique(keys, return_inverse=True)
        order = np.argsort(group, kind="stable")
        ends = np.flatnonzero(np.diff(group[order])) + 1
        for bucket in np.split(order, ends):
            if len(bucket) < 2:
                continue
            for others in range(1, min(_OTHERS, len(bucket) - 1) + 1):
                first, second = bucket[:-others], bucket[others:]
                # With the first of the bucket too, which is most likely of training.
                if others == _OTHERS:
                    first = np.full(len(second), bucket[0])
                shares = (sketches[first] == sketches[second]).mean(1)
                for place in np.flatnonzero(shares >= _SEEMS_ALIKE):
                    pair = int(first[place]), int(second[place])
                    if pair not in told:
                        told.add(pair)
                        yield *pair, float(shares[place])
