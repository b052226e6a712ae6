"""What the labels of a corpus mean: their names, their order, their numbers.

It reads no files and weighs no classes. Invariant: names are strings and sorted, so the same set of
labels gives the same numbers whatever the order of the documents or the format they came in.
"""

import math
import re
from collections.abc import Iterable
from typing import Any

from hierbert.data.document import Example
from hierbert.errors import (
    ConfigError,
    DataError,
    did_you_mean,
    quote,
    quote_all,
    setting_name,
    type_name,
)

LARGEST_NUMBER = 3.4028234663852886e38
"""Of a regression's labels: the largest number of 32 bits, in which models calculate."""
PROBLEM_TYPES = ("single_label", "multi_label", "regression")
_LABEL_TYPE = setting_name("label_type")


class LabelMap:
    """Label names and what they are numbered as.

    Labels become strings: ``1`` is ``"1"``, ``true`` is ``"true"``, ``2.0`` is ``"2"``, so that a
    model trained on csv reads jsonl and the other way round.

    Args:
        names: The labels; their places are their numbers. Empty for regression.
        problem_type: ``single_label``, ``multi_label`` or ``regression``.
        separator: What splits a string into several labels (multi_label only); None splits none.
        field: The column that holds the labels, for messages.

    Raises:
        ConfigError: An unknown problem type, a separator without multi_label, names that repeat.
    """

    def __init__(
        self,
        names: Iterable[str],
        problem_type: str,
        separator: str | None = None,
        *,
        field: str = "label",
    ) -> None:
        self.names = list(names)
        self.problem_type = problem_type
        self.separator = separator
        self.field = field
        if problem_type not in PROBLEM_TYPES:
            raise ConfigError(
                f"problem type {problem_type!r} is not one of {', '.join(PROBLEM_TYPES)}"
            )
        if separator is not None and (not separator or problem_type != "multi_label"):
            raise ConfigError(
                f"the label separator {separator!r} needs multi_label, not {problem_type}, "
                "and at least one character"
            )
        if len(set(self.names)) != len(self.names):
            raise ConfigError(f"label names repeat: {quote_all(self.names)}")
        self._number_of = {name: number for number, name in enumerate(self.names)}

    @classmethod
    def learn(
        cls,
        examples: Iterable[Example],
        problem_type: str = "auto",
        separator: str | None = None,
        *,
        field: str = "label",
    ) -> "LabelMap":
        """Learn the labels of a training corpus; examples without a label are passed over.

        Args:
            examples: The corpus.
            problem_type: One of `PROBLEM_TYPES`, or ``auto``: multi_label when labels are lists
                or a separator is given, else single_label; never regression.
            separator: What splits a string into several labels, such as ``;``.
            field: The column that holds the labels, for messages.

        Returns:
            A map whose names are sorted: by value when all are whole numbers, else as strings.

        Raises:
            ConfigError: An unknown problem type, or a separator without multi_label.
            DataError: No labels; fewer than 2 for single_label; labels of mixed types; fractions
                where the type is ``auto``; lists where it is single_label or regression.
        """
        if problem_type not in ("auto", *PROBLEM_TYPES):
            raise ConfigError(
                f"{_LABEL_TYPE}: {problem_type!r} is not one of auto, {', '.join(PROBLEM_TYPES)}"
            )
        everything = list(examples)
        labelled = [example for example in everything if example.fields["label"] is not None]
        if not labelled:
            start = f", from {everything[0].location} on" if everything else ""
            raise DataError(f"no document has a label in column {field!r}{start}")
        kind = _common_kind(labelled, field)
        if problem_type == "auto":
            several = kind == "list" or separator is not None
            problem_type = "multi_label" if several else "single_label"
            if not several:
                _refuse_fractions(labelled, field)
        if kind == "list" and problem_type != "multi_label":
            raise DataError(
                f"{labelled[0].location}: column {field!r} holds the list "
                f"{quote(labelled[0].fields['label'])}, which {problem_type} does not allow; "
                f"set {_LABEL_TYPE} to multi_label"
            )
        learned = cls([], problem_type, separator, field=field)
        if problem_type == "regression":
            for example in labelled:
                learned._number(example)
            return learned
        names = {name for example in labelled for name in learned._names_of(example)}
        needed = 2 if problem_type == "single_label" else 1
        if len(names) < needed:
            raise DataError(
                f"column {field!r} of the training documents has {len(names)} "
                f"label{'' if len(names) == 1 else 's'}"
                f"{' (' + quote_all(names) + ')' if names else ''}; {problem_type} needs at least "
                f"{needed} (see {labelled[0].location})"
            )
        return cls(_sorted(names), problem_type, separator, field=field)

    def encode(self, example: Example) -> int | list[int] | float | None:
        """Turn the label of an example, of the training corpus or another, into numbers.

        Returns:
            single_label: the label's number. multi_label: the labels' numbers, sorted, each once;
            an empty list says that none applies. regression: the value. None: no label is known.

        Raises:
            DataError: A label that is not among `names`, a list where one label is allowed, a
                value that is no finite 32-bit number for regression.
        """
        if example.fields["label"] is None:
            return None
        if self.problem_type == "regression":
            return self._number(example)
        numbers = []
        for name in self._names_of(example):
            if name not in self._number_of:
                raise DataError(
                    f"{example.location}: column {self.field!r} has the label {quote(name)}, which "
                    f"the training documents do not have; allowed are {quote_all(self.names)}"
                    f"{did_you_mean(name, self.names)}"
                )
            numbers.append(self._number_of[name])
        return numbers[0] if self.problem_type == "single_label" else sorted(set(numbers))

    def _names_of(self, example: Example) -> list[str]:
        label = example.fields["label"]
        if isinstance(label, list):
            if self.problem_type != "multi_label":
                raise DataError(
                    f"{example.location}: column {self.field!r} holds the list {quote(label)}, "
                    f"but the model's labels are {self.problem_type}: allowed is one label"
                )
            labels = label
        elif self.separator is not None and isinstance(label, str):
            labels = [part.strip() for part in label.split(self.separator)]
        else:
            labels = [label]
        return [name for name in map(_label_name, labels) if name]

    def _number(self, example: Example) -> float:
        label = example.fields["label"]
        try:
            value = math.nan if isinstance(label, bool | list) else float(label)
        except (ValueError, OverflowError):
            value = math.nan
        if not math.isfinite(value):
            raise DataError(
                f"{example.location}: column {self.field!r} holds {quote(label)} "
                f"({type_name(label)}); regression allows finite numbers"
            )
        if abs(value) > LARGEST_NUMBER:
            raise DataError(
                f"{example.location}, id {quote(example.id)}: column {self.field!r} holds "
                f"{quote(label)}; regression allows numbers from {-LARGEST_NUMBER:g} to "
                f"{LARGEST_NUMBER:g}, the 32-bit ones"
            )
        return value


def _label_name(label: Any) -> str:
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


def _common_kind(examples: list[Example], field: str) -> str:
    """Find the one type of all labels (and of what lists hold), or say which two rows differ."""
    kinds: dict[str, Example] = {}
    inner_kinds: dict[str, Example] = {}
    for example in examples:
        kinds.setdefault(type_name(example.fields["label"]), example)
        for label in example.fields["label"] if isinstance(example.fields["label"], list) else []:
            inner_kinds.setdefault(type_name(label), example)
    for found, inside in ((kinds, ""), (inner_kinds, " in its list")):
        if len(found) > 1:
            (kind_a, a), (kind_b, b) = list(found.items())[:2]
            raise DataError(
                f"column {field!r} mixes types: {a.location} has {quote(a.fields['label'])} "
                f"({kind_a}{inside}), {b.location} has {quote(b.fields['label'])} "
                f"({kind_b}{inside}); all labels must be of one type"
            )
    return "list" if "a list" in kinds else "scalar"


def _refuse_fractions(examples: list[Example], field: str) -> None:
    """Refuse to take measurements for classes: numbers, of which some have a fractional part."""
    fraction = None
    for example in examples:
        try:
            value = (
                math.nan
                if isinstance(example.fields["label"], bool)
                else float(example.fields["label"])
            )
        except (ValueError, OverflowError):
            return
        if not math.isfinite(value):
            return
        if fraction is None and not value.is_integer():
            fraction = example
    if fraction is not None:
        raise DataError(
            f"{fraction.location}: column {field!r} holds numbers with fractions, such as "
            f"{quote(fraction.fields['label'])}; set {_LABEL_TYPE} to regression, or to "
            "single_label if they are names of classes"
        )


def _sorted(names: Iterable[str]) -> list[str]:
    ordered = sorted(names)
    if all(re.fullmatch(r"[+-]?[0-9]{1,4000}", name) for name in ordered):
        ordered.sort(key=int)
    return ordered
