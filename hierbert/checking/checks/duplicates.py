"""Documents of the same words: in two splits, twice in one, with labels that differ."""

from collections import defaultdict
from collections.abc import Iterable

from typing_extensions import override

from hierbert.checking.check import Check, register_check
from hierbert.checking.corpus import CheckedCorpus
from hierbert.checking.finding import Finding
from hierbert.data.repeated import repeated_documents
from hierbert.tasks.classification import Classification

# Of what makes scores wrong; see `Finding.weight`.
_LEAK = 3
_OF_CONFLICTS = {
    "single_label": "decide which label is right, or give the text both (multi_label)",
    "multi_label": "decide which labels are right",
    "regression": "decide which number is right",
    "tree": "decide which path is right, or give the text both (data.multi_path=true)",
}


@register_check
class Duplicates(Check):
    """Equal documents, by a hash of their words, so that every one is found."""

    name = "duplicates"

    @override
    def findings(self, corpus: CheckedCorpus) -> Iterable[Finding]:
        yield from _leaks(corpus)
        groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for split, numbers in corpus.splits.items():
            for number in numbers:
                example = corpus.examples[number]
                if example.text:
                    query = repr(example.fields.get("query"))
                    groups[split, str(example.text), query].append(number)
        several = [numbers for numbers in groups.values() if len(numbers) > 1]
        task = next((one for one in corpus.tasks if isinstance(one, Classification)), None)
        conflicting = [] if task is None else _conflicting(corpus, task, several)
        if again := [number for numbers in several for number in numbers[1:]]:
            yield corpus.finding(
                "warning" if len(again) > 0.05 * corpus.size else "note",
                "repeated_documents",
                again,
                "stand in their split before, word for word",
                "leave them out: what is there twice counts twice",
            )
        if task is not None and conflicting:
            yield corpus.finding(
                "warning",
                "conflicting_labels",
                [number for numbers in conflicting for number in numbers],
                "have the text of another, and other labels",
                _OF_CONFLICTS[task.problem_type],
                weight=_LEAK - 1,
                texts=len(conflicting),
            )


def _leaks(corpus: CheckedCorpus) -> Iterable[Finding]:
    number_of = {id(example): number for number, example in enumerate(corpus.examples)}
    splits = {
        split: [corpus.examples[number] for number in numbers]
        for split, numbers in corpus.splits.items()
    }
    for split, other, pairs in repeated_documents(splits):
        finding = corpus.finding(
            "warning",
            f"duplicates_of_{other}_in_{split}",
            [number_of[id(one)] for one, _ in pairs],
            f"stand in {other} too, word for word: scores on them say little",
            f"leave them out of {other}",
            weight=_LEAK,
        )
        finding.examples[:] = [f"{one.location} is {first.location}" for one, first in pairs[:3]]
        yield finding


def _conflicting(
    corpus: CheckedCorpus, task: Classification, several: list[list[int]]
) -> list[list[int]]:
    """Those whose labels differ, in whatever order and form they are written."""
    found = []
    for numbers in several:
        known = [corpus.examples[number] for number in numbers if number not in corpus.refused]
        labels = [task.encode(example) for example in known]
        if len({repr(label) for label in labels if label is not None}) > 1:
            found.append(numbers)
    return found
