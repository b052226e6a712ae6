"""What the labels of a corpus mean: their names, their order, their numbers.

It reads no files and weighs no classes. Invariant: names are strings and sorted, so the same set of
labels gives the same numbers whatever the order of the documents or the format they came in.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
from hierbert.tasks.label_cells import flag_in, list_in, looks_like_a_list
from hierbert.tasks.label_checks import SEPARATORS, LearntLabels, check_labels

# Models calculate in numbers of 32 bits.
_LARGEST_NUMBER = 3.4028234663852886e38
_LABEL_TYPE = setting_name("label_type")


class UnknownLabel(DataError):
    """A label that the model does not have."""


class LabelMap:
    """Label names and what they are numbered as.

    Labels become strings: ``1`` is ``"1"``, ``true`` is ``"true"``, ``2.0`` is ``"2"``, and several
    labels may be a list or a cell of text that spells one, ``["a", "b"]``, so that a model trained
    on csv reads jsonl and the other way round. Of several columns, each is a label that applies or
    does not (1 or 0, true or false, yes or no), or holds labels.

    Args:
        names: The labels; their places are their numbers. Empty for regression.
        problem_type: ``single_label``, ``multi_label`` or ``regression``.
        separator: What splits a string into several labels (multi_label only); None splits none.
        field: The column that holds the labels, for messages.

    Raises:
        ConfigError: A separator without multi_label, names that repeat.
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
        if separator is not None and (not separator or problem_type != "multi_label"):
            raise ConfigError(
                f"the label separator {separator!r} needs multi_label, not {problem_type}, "
                "and at least one character"
            )
        self._number_of = {name: number for number, name in enumerate(self.names)}
        if len(self._number_of) < len(self.names):
            raise ConfigError(f"label names repeat: {quote_all(self.names)}")

    @classmethod
    def learn(
        cls,
        examples: Sequence[Example],
        problem_type: str = "auto",
        separator: str | None = None,
        *,
        field: str = "label",
    ) -> "LabelMap":
        """Learn the labels of a training corpus; examples without a label are passed over.

        How many there are is logged, and what is likely a mistake is a warning.

        Args:
            examples: The corpus, not empty.
            problem_type: Of the map; or ``auto``: multi_label when labels are lists, all cells
                spell lists, or a separator is given, else single_label; never regression.
            separator: What splits a string into several labels, such as ``;``.
            field: The column that holds the labels, for messages.

        Returns:
            A map whose names are sorted: by value when all are whole numbers, else as strings.

        Raises:
            ConfigError: A separator without multi_label.
            DataError: No labels; fewer than 2 for single_label; labels of mixed types; fractions
                where the type is ``auto``; lists where it is single_label or regression; cells
                that hold several labels but were read as one.
        """
        labelled = [example for example in examples if example.fields["label"] is not None]
        if not labelled:
            raise DataError(
                f"no document has a label in column {field!r}, from {examples[0].location} on"
            )
        are_lists = _are_lists(labelled, field)
        asked = problem_type
        if problem_type == "auto":
            are_lists = are_lists or (separator is None and _spell_lists(labelled, field))
            several = are_lists or separator is not None
            problem_type = "multi_label" if several else "single_label"
            if not several:
                _refuse_fractions(labelled, field)
        if are_lists and problem_type != "multi_label":
            first = next(one for one in labelled if isinstance(one.fields["label"], list | Mapping))
            raise DataError(
                f"column {field!r} holds the list {quote(first.fields['label'])}, which "
                f"{problem_type} does not allow; set {_LABEL_TYPE} to multi_label",
                place=first.location,
            )
        learned = cls(_flags(labelled), problem_type, separator, field=field)
        if problem_type == "regression":
            for example in labelled:
                learned.encode(example)
            return learned
        names = [learned._names_of(example) for example in labelled]
        counts = Counter(dict.fromkeys(learned.names, 0))
        counts.update(name for several in names for name in dict.fromkeys(several))
        needed = 2 if problem_type == "single_label" else 1
        if len(counts) < needed:
            blank = len(labelled) < len(examples) and len(counts) == 1
            raise DataError(
                f"column {field!r} of the training documents has {len(counts)} "
                f"label{'' if len(counts) == 1 else 's'}"
                f"{' (' + quote_all(counts) + ')' if counts else ''}; {problem_type} needs at "
                f"least {needed} (see {labelled[0].location})"
                + f"; {setting_name('empty_label')}=none takes blanks for no label"
                * blank
            )
        check_labels(
            LearntLabels(
                len(examples), labelled, names, counts, problem_type, asked, separator, field
            )
        )
        return cls(_sorted(counts), problem_type, separator, field=field)

    def written(self, separator: str | None, field: str) -> "LabelMap":
        """The same labels as another corpus writes them."""
        return type(self)(self.names, self.problem_type, separator, field=field)

    def encode(self, example: Example) -> int | list[int] | float | None:
        """Turn the label of an example, of the training corpus or another, into numbers.

        Returns:
            single_label: the label's number. multi_label: the labels' numbers, sorted, each once;
            an empty list says that none applies. regression: the value. None: no label is known.

        Raises:
            UnknownLabel: A label that is not among `names`.
            DataError: Several in a cell that nothing splits, a list where one label is allowed, a
                value that is no finite 32-bit number for regression.
        """
        if example.fields["label"] is None:
            return None
        if self.problem_type == "regression":
            return self._value(example)
        names = self._names_of(example)
        for name in names:
            if name not in self._number_of:
                self._refuse_several(name, example)
                raise UnknownLabel(
                    f"column {self.field!r} has the label {quote(name)}, which the training "
                    f"documents do not have; allowed are {quote_all(self.names)}"
                    f"{did_you_mean(name, self.names)}",
                    place=example.location,
                )
        numbers = sorted({self._number_of[name] for name in names})
        return numbers if self.problem_type == "multi_label" else numbers[0]

    def _refuse_several(self, name: str, example: Example) -> None:
        """Refuse a cell of labels that are all known, and that were read as one."""
        for separator in SEPARATORS if self.problem_type == "multi_label" else ():
            parts = [part.strip() for part in name.split(separator)]
            if len(parts) > 1 and all(part in self._number_of for part in parts if part):
                raise DataError(
                    f"column {self.field!r} holds {quote(name)}, labels of the model that are read "
                    f"as one; set {setting_name('label_separator')} to {separator!r}",
                    place=example.location,
                )

    def _names_of(self, example: Example) -> list[str]:
        label = example.fields["label"]
        if isinstance(label, list) and self.problem_type != "multi_label":
            raise DataError(
                f"column {self.field!r} holds the list {quote(label)}, but the model's labels are "
                f"{self.problem_type}: allowed is one label",
                place=example.location,
            )
        values = label.values() if isinstance(label, Mapping) else [label]
        items = (item for value in values if isinstance(value, list) for item in value)
        if any(isinstance(item, list) for item in items):
            raise DataError(
                f"column {self.field!r} holds {quote(label)}; lists in a list are paths in a tree "
                f"({setting_name('label_paths')}), and labels are a list of names",
                place=example.location,
            )
        if not isinstance(label, Mapping):
            return self._names_in(label)
        names = []
        for column, value in label.items():
            if column not in self._number_of:
                names += [] if value is None else self._names_in(value)
            elif value != [] and _applies(column, value, example):
                names.append(column)
        return names

    def _names_in(self, label: Any) -> list[str]:
        """The labels of a value: a list, a cell that spells one or is split, or a label."""
        labels = label if isinstance(label, list) else [label]
        if isinstance(label, str) and self.problem_type == "multi_label":
            spelled = list_in(label)
            if spelled is not None:
                labels = spelled
            elif self.separator is not None:
                labels = [part.strip() for part in label.split(self.separator)]
        return [name for name in map(_label_name, labels) if name]

    def _value(self, example: Example) -> float:
        label = example.fields["label"]
        value = _number(label)
        if not abs(value) <= _LARGEST_NUMBER:
            raise DataError(
                f"column {self.field!r} holds {quote(label)} ({type_name(label)}); regression "
                f"allows finite numbers from {-_LARGEST_NUMBER:g} to {_LARGEST_NUMBER:g}, those "
                "of 32 bits",
                place=f"{example.location}, id {quote(example.id)}",
            )
        return value


def _label_name(label: Any) -> str:
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


def _number(label: Any) -> float:
    """The number that a label is or spells; nan for any other."""
    try:
        return math.nan if isinstance(label, bool | list) else float(label)
    except (ValueError, OverflowError):
        return math.nan


def _are_lists(examples: list[Example], field: str) -> bool:
    """Whether labels are lists; two rows whose labels (or items) differ in type are refused."""
    kinds: dict[str, Example] = {}
    inner_kinds: dict[str, Example] = {}
    for example in examples:
        label = example.fields["label"]
        if label == []:  # none applies, whatever the others are
            continue
        kinds.setdefault(type_name(label), example)
        for item in label if isinstance(label, list) else []:
            inner_kinds.setdefault(type_name(item), example)
    for found, inside in ((kinds, ""), (inner_kinds, " in its list")):
        if len(found) > 1:
            a, b = (
                f"{example.location} has {quote(example.fields['label'])} ({kind}{inside})"
                for kind, example in list(found.items())[:2]
            )
            raise DataError(
                f"column {field!r} mixes types: {a}, {b}; all labels must be of one type"
            )
    return any(isinstance(example.fields["label"], list | Mapping) for example in examples)


def _spell_lists(examples: list[Example], field: str) -> bool:
    """Whether all cells of text spell lists; where only some do, no one can tell what they are."""
    cells = [(example.fields["label"], example) for example in examples]
    lists = [isinstance(cell, str) and list_in(cell) is not None for cell, _ in cells]
    if any(lists) and not all(lists):
        (a, one), (b, other) = cells[lists.index(True)], cells[lists.index(False)]
        if not looks_like_a_list(b):
            raise DataError(
                f"column {field!r} holds the list {quote(a)} and, in {other.location}, {quote(b)}; "
                f"set {_LABEL_TYPE} to multi_label, or to single_label if both name classes",
                place=one.location,
            )
    return all(lists)


def _flags(examples: list[Example]) -> list[str]:
    """Of several columns those that say, row by row, whether one label applies."""
    values: dict[str, list[tuple[Any, Example]]] = {}
    for example in examples:
        label = example.fields["label"]
        for column, value in label.items() if isinstance(label, Mapping) else ():
            if value is not None and value != []:
                values.setdefault(column, []).append((value, example))
    flags = []
    for column, found in values.items():
        # A number is a flag or a mistake: as a name it would be that of another column too.
        if any(flag_in(_label_name(value)) is not None or _is_number(value) for value, _ in found):
            for value, example in found:
                _applies(column, value, example)
            flags.append(column)
    return flags


def _is_number(value: Any) -> bool:
    return not math.isnan(_number(value))


def _applies(column: str, value: Any, example: Example) -> bool:
    """Whether the label that a column is applies to a document."""
    if value is None:
        raise DataError(
            f"column {column!r} is blank, and other columns of labels are not; set "
            f"{setting_name('empty_label')} to none where a blank says that it does not apply",
            place=example.location,
        )
    flag = flag_in(_label_name(value))
    if flag is None:
        raise DataError(
            f"column {column!r} holds {quote(value)} ({type_name(value)}); each of several columns "
            "of labels holds 1 and 0 (or true and false, yes and no) alone, or names alone",
            place=example.location,
        )
    return flag


def _refuse_fractions(examples: list[Example], field: str) -> None:
    """Refuse to take measurements for classes: numbers, of which some have a fractional part."""
    values = [_number(example.fields["label"]) for example in examples]
    if not all(map(math.isfinite, values)):
        return
    for example, value in zip(examples, values, strict=True):
        if not value.is_integer():
            raise DataError(
                f"column {field!r} holds numbers with fractions, such as "
                f"{quote(example.fields['label'])}; set {_LABEL_TYPE} to regression, or to "
                "single_label if they are names of classes",
                place=example.location,
            )


def _sorted(names: Iterable[str]) -> list[str]:
    ordered = sorted(names)
    if all(re.fullmatch(r"[+-]?[0-9]{1,4000}", name) for name in ordered):
        ordered.sort(key=int)
    return ordered
