"""Reference summaries that stand in the text: whole, or most of their runs of words."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from typing_extensions import override

from hierbert.checking.check import Check, register_check
from hierbert.checking.checks.near_duplicates import runs_of
from hierbert.checking.corpus import CheckedCorpus, ReadDocument
from hierbert.checking.finding import Finding
from hierbert.model.words import word_hashes

_RUN = 8
# Of a reference's runs of eight words.
_COPIED = 0.5


@register_check
class References(Check):
    """How much of a document's reference can be found in it by looking for it."""

    name, place = "references", 4

    @override
    def begin(self) -> None:
        self._shares: dict[int, float] = {}
        # In the order of reading; each number once.
        self._whole: dict[int, None] = {}
        self._longer: dict[int, None] = {}

    @override
    def add(self, document: ReadDocument) -> None:
        found = document.example.fields.get("summary")
        references = found if isinstance(found, list) else [found]
        texts = [one for one in references if isinstance(one, str)]
        if not texts or not len(document.hashes):
            return
        runs = runs_of(document.hashes, _RUN)
        for reference in texts:
            words = word_hashes([reference])[0].numpy()
            if len(words) >= len(document.hashes):
                self._longer[document.number] = None
            if len(words) < _RUN:
                continue
            there = np.isin(runs_of(words, _RUN), runs)
            share = float(there.mean())
            self._shares[document.number] = max(share, self._shares.get(document.number, 0.0))
            # All runs in one piece: a text that holds some of them twice has them in order too.
            if there.all() and _stands(words, document):
                self._whole[document.number] = None

    @override
    def findings(self, corpus: CheckedCorpus) -> Iterable[Finding]:
        if self._whole:
            yield corpus.finding(
                "warning",
                "references_in_the_text",
                list(self._whole),
                "hold their whole reference, word for word",
                "cut it out of the text (an abstract, a lead), or scores tell who finds it",
                weight=2,
            )
        shares = self._shares.items()
        copied = [n for n, share in shares if share >= _COPIED and n not in self._whole]
        if copied:
            yield corpus.finding(
                "note",
                "references_copied",
                copied,
                f"hold at least half of their reference's runs of {_RUN} words",
                "where the reference was made of the text's own sentences that is as it should be; "
                "where it is to be written, cut the copy out of the text",
            )
        if self._longer:
            yield corpus.finding(
                "warning",
                "references_longer_than_the_text",
                list(self._longer),
                "are no longer than their reference",
                "look whether data.text_column and data.summary_column were swapped",
            )

    @override
    def facts(self, corpus: CheckedCorpus) -> dict[str, Any]:
        facts = {}
        for split, numbers in corpus.splits.items():
            shares = [self._shares[number] for number in numbers if number in self._shares]
            if shares:
                facts[split] = {
                    "references": len(shares),
                    "mean_share_of_8_word_runs_in_the_text": round(float(np.mean(shares)), 4),
                    "whole": sum(number in self._whole for number in numbers),
                }
        return facts

    @override
    def table(self, facts: dict[str, Any]) -> list[list[str]]:
        rows = [["References", "documents", f"runs of {_RUN} words in the text", "whole"]]
        for split, own in facts.items():
            share = own["mean_share_of_8_word_runs_in_the_text"]
            rows.append(
                [split, f"{own['references']:,}", f"{100 * share:.1f} %", f"{own['whole']:,}"]
            )
        return rows if facts else []


def _stands(words: np.ndarray, document: ReadDocument) -> bool:
    """Whether words stand in a document one after the other."""
    # Each word as four bytes: the place of a match has to be that of a word.
    own, sought = document.hashes.astype("<u4").tobytes(), words.astype("<u4").tobytes()
    place = own.find(sought)
    while place > 0 and place % 4:
        place = own.find(sought, place + 1)
    return place >= 0
