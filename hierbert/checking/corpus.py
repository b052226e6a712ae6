"""What is kept of the documents of a run while they are looked at: all but their texts.

Invariant: memory grows with the number of documents, their labels and references, and not with
their length.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hierbert.checking.finding import Finding
from hierbert.config import RunConfig
from hierbert.data.document import Example, Text
from hierbert.data.repeated import text_digest
from hierbert.model.words import word_hashes
from hierbert.tasks.task import Task

# Places that a finding names.
_MOST_PLACES = 3
# What findings say of documents begins with one of these.
_OF_ONE = {"are": "is", "have": "has", "hold": "holds", "stand": "stands"}


class ReadDocument:
    """A document as long as it is held.

    Attributes:
        number: From 0, in the order of reading.
        role: "train", "validation" or "test": the setting that names it.
        example: With its text.
        text: Lists of sentences or segments as lines.
    """

    def __init__(self, number: int, role: str, example: Example) -> None:
        self.number, self.role, self.example = number, role, example
        self.text = _joined(example.text)

    @cached_property
    def hashes(self) -> npt.NDArray[np.int64]:
        """Of each word: see `word_hashes`."""
        return word_hashes([self.text])[0].numpy()

    def without_text(self) -> Example:
        """What is kept of it: a short text that is equal for equal documents, blank if it is."""
        blank = not self.text or self.text.isspace()
        return replace(self.example, text="" if blank else text_digest(self.example).hex())


def _joined(text: Text) -> str:
    return text if isinstance(text, str) else "\n".join(_joined(part) for part in text)


@dataclass
class CheckedCorpus:
    """All documents of a run, by number, without their texts.

    Attributes:
        config: Of the run.
        examples: Of each document; the text is that of `ReadDocument.without_text`.
        splits: Numbers of the documents of "train", "validation" and, where it is given, "test".
        tasks: That were learnt; none where that failed.
        refused: Numbers of documents whose target is not allowed.
    """

    config: RunConfig
    examples: Sequence[Example]
    splits: dict[str, list[int]] = field(default_factory=dict)
    tasks: Sequence[Task] = ()
    refused: set[int] = field(default_factory=set)

    @cached_property
    def split_of(self) -> dict[int, str]:
        """Of each document."""
        return {number: split for split, numbers in self.splits.items() for number in numbers}

    @property
    def size(self) -> int:
        """How many documents there are."""
        return len(self.split_of)

    def places(self, numbers: Iterable[int]) -> list[str]:
        """Where the first of these documents are."""
        return [self.examples[number].location for number in list(numbers)[:_MOST_PLACES]]

    def finding(
        self,
        severity: str,
        name: str,
        numbers: Sequence[int],
        what: str,
        advice: str = "",
        weight: int = 0,
        **counts: float,
    ) -> Finding:
        """A finding of some documents: ``3 of 20 test documents`` and `what`.

        That begins with a verb of many, which is put as of one where there is one.
        """
        if len(numbers) == 1:
            verb, _, rest = what.partition(" ")
            # What follows a colon may be another's words.
            rest = re.sub(r"^([^:;]*)\btheir\b", r"\1its", rest)
            what = f"{_OF_ONE.get(verb, verb)} {rest}"
        by_split = Counter(self.split_of[number] for number in numbers)
        if len(by_split) == 1:
            (split,) = by_split
            message = f"{len(numbers):,} of {len(self.splits[split]):,} {split} documents {what}"
        else:
            listed = ", ".join(
                f"{name} {by_split[name]:,}" for name in self.splits if by_split[name]
            )
            message = f"{len(numbers):,} of {self.size:,} documents {what} ({listed})"
        return Finding(
            severity,
            name,
            message,
            advice,
            {"documents": len(numbers), **by_split, **counts},
            self.places(numbers),
            weight,
        )

    def targets(self, task: Task, split: str) -> list[tuple[int, Any]]:
        """Number and target of each document of a split that has one."""
        numbers = [number for number in self.splits[split] if number not in self.refused]
        pairs = [(number, task.encode(self.examples[number])) for number in numbers]
        return [(number, target) for number, target in pairs if target is not None]
