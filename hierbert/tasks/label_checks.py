"""Labels as they are, said when they are learnt: what they count, and what is likely a mistake.

What is surely one is refused: cells that hold several labels and were read as one, a column of ids
or text. What may be one is a warning, and so is all else where the user has set single_label.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hierbert.data.document import Example
from hierbert.errors import DataError, quote, quote_all, setting_name
from hierbert.log import log
from hierbert.tasks.label_cells import list_in, looks_like_a_list

# Names of classes hold a bar or a comma now and then, and hardly ever one of the others.
_SURE_SEPARATORS = (";", "\n", "\t")
SEPARATORS = (*_SURE_SEPARATORS, "|", ",")
"""What may separate labels in a cell, the surest first."""
# Where more of the documents have a label of their own, they are ids or texts; of fewer documents
# that says nothing.
_MOST_DIFFERENT, _FEWEST_DOCUMENTS = 0.8, 20
# A longer cell is a text.
_LONGEST_CELL = 1000
_TYPE, _SEPARATOR = setting_name("label_type"), setting_name("label_separator")


@dataclass(frozen=True)
class LearntLabels:
    """What was learnt of the labels of a training corpus.

    Attributes:
        documents: How many the corpus has.
        examples: Those of them with a label, or with a list of none; at least one.
        names: Of each of these, its labels.
        counts: How many documents have each label; 0 for one that is known and does not occur.
        problem_type: "single_label" or "multi_label".
        asked: The same as the user has set it, or "auto".
        separator: What splits cells; None where nothing does.
        field: The column.
    """

    documents: int
    examples: Sequence[Example]
    names: Sequence[Sequence[str]]
    counts: Counter[str]
    problem_type: str
    asked: str
    separator: str | None
    field: str

    @property
    def several(self) -> bool:
        """Whether a document may have several labels."""
        return self.problem_type == "multi_label"

    def first(self, names: set[str]) -> Example:
        """The first document that has one of these labels."""
        pairs = zip(self.examples, self.names, strict=True)
        return next(example for example, own in pairs if not names.isdisjoint(own))


def check_labels(labels: LearntLabels) -> None:
    """Log what the labels of a run are, and warn of what is likely a mistake.

    Raises:
        DataError: What is surely one, with what to write.
    """
    _tell(labels)
    cells = [one.fields["label"] for one in labels.examples]
    # What is a list in the corpus, or could be read as one, is as the user wants it.
    read = [c for c in cells if isinstance(c, str) and not (labels.several and list_in(c))]
    if read:
        _check_lists(labels, read)
        _check_separators(labels, read)
    _check_rare(labels)
    warn_of_similar(labels.counts, labels.field)
    _warn_of_constant(labels)


def _tell(labels: LearntLabels) -> None:
    ranked = sorted(labels.counts.items(), key=lambda pair: (-pair[1], pair[0]))
    (common, most), (rare, least) = ranked[0], ranked[-1]
    facts = [
        f"{len(ranked):,} in column {labels.field!r}",
        f"commonest {quote(common)} ({most:,}), rarest {quote(rare)} ({least:,})",
        f"occurring once: {sum(count == 1 for count in labels.counts.values()):,}",
    ]
    if labels.several:
        mean, without = labels.counts.total() / len(labels.names), labels.names.count([])
        facts.append(f"{mean:.1f} a document, none applies to {without:,}")
    if blank := labels.documents - len(labels.examples):
        fact = f"unknown (blank) for {blank:,} of {labels.documents:,} documents"
        hint = f" ({setting_name('empty_label')}=none says that none applies to them)"
        facts.append(fact + hint * labels.several)
    log.info(_worded(f"labels: {'; '.join(facts)}"))


def _check_lists(labels: LearntLabels, cells: list[str]) -> None:
    """Of cells in brackets, of which at least half look like lists."""
    lists = [cell for cell in cells if looks_like_a_list(cell)]
    if len(lists) < 2 or 2 * len(lists) < len(cells):
        return
    # The first that cannot be read, or any.
    cell = min(lists, key=lambda cell: list_in(cell) is not None)
    message = f"column {labels.field!r} holds {quote(cell)}, which looks like a list and "
    if list_in(cell) is None:
        message += "cannot be read as one; write lists as [\"a\", \"b\"] or ['a', 'b']"
    else:
        message += f"is read as one label; write {_TYPE}=multi_label"
    _refuse(labels, message, cell)


def _check_separators(labels: LearntLabels, cells: list[str]) -> None:
    """Of names that still hold what separates labels elsewhere, and share parts with others."""
    own = labels.separator
    used = own is not None and any(own in cell for cell in cells)
    for separator in _SURE_SEPARATORS if used else SEPARATORS:
        if separator == own:
            continue
        parts = {
            name: {part.strip() for part in name.split(separator)} - {""}
            for name in labels.counts
            if len(name) <= _LONGEST_CELL
        }
        occurring = Counter(part for each in parts.values() for part in each)
        shared = {
            name
            for name, each in parts.items()
            if len(each) > 1 and any(occurring[part] > 1 for part in each)
        }
        sure = (
            len(occurring) < len(parts)
            or separator in _SURE_SEPARATORS
            or (labels.several and not used)
        )
        if shared and (sure or 2 * len(shared) >= len(parts)):
            cell = labels.first(shared).fields["label"]
            written = repr(separator) if separator.isprintable() else f"'{json.dumps(separator)}'"
            message = (
                f"column {labels.field!r} holds {quote(cell)}, which looks like several labels and "
                f"is read as one; write {_TYPE}=multi_label {_SEPARATOR}={written}"
            )
            _refuse(labels, message, cell, sure)
            return
    if own is not None and not used:
        log.warning(f"column {labels.field!r}: no cell holds the separator {own!r}")


def _refuse(labels: LearntLabels, message: str, cell: str, sure: bool = True) -> None:
    """Refuse a cell, or warn of it: of names that the user has called so, nothing is sure."""
    place = next(one.location for one in labels.examples if one.fields["label"] == cell)
    if labels.asked == "single_label":
        sure = False
    elif labels.several:
        message += '; where each is one label, write lists of one, ["a label"]'
    else:
        message += f"; where each is one label, write {_TYPE}=single_label"
    if sure:
        raise DataError(message, place=place)
    log.warning(DataError(message, place=place).worded())


def _check_rare(labels: LearntLabels) -> None:
    once = [name for name, count in labels.counts.items() if count == 1]
    documents = len(labels.examples)
    if 2 * len(once) <= len(labels.counts) or documents < _FEWEST_DOCUMENTS:
        return
    message = (
        f"column {labels.field!r}: {len(once):,} of {len(labels.counts):,} labels are those of one "
        f"document alone, such as {quote(once[0])}, of which little is learnt; several labels in a "
        f"cell need {_SEPARATOR}"
    )
    ids_or_texts = not labels.several and len(labels.counts) > _MOST_DIFFERENT * documents
    if ids_or_texts and labels.asked == "auto":
        raise DataError(
            f"{message}, ids and texts another {setting_name('label_column')}, numbers to predict "
            f"{_TYPE}=regression, names of classes {_TYPE}=single_label",
            place=labels.first({once[0]}).location,
        )
    log.warning(_worded(message))


def warn_of_similar(names: Iterable[str], field: str) -> None:
    """Name labels that look much the same: they are classes of their own."""
    alike: dict[str, list[str]] = {}
    for name in sorted(names):
        alike.setdefault(_as_seen(name), []).append(name)
    for group in alike.values():
        if len(group) > 1:
            log.warning(
                f"column {field!r}: the labels {quote_all(group)} differ in case, white "
                "space, invisible characters or the encoding of letters alone, and are "
                f"{len(group)} classes; where they are one, write them alike"
            )


def _as_seen(name: str) -> str:
    """A label without regard to case, white space, and how its letters are encoded."""
    # Marks are put in order in time with the square of their number.
    start = unicodedata.normalize("NFKC", name[:_LONGEST_CELL]).casefold()
    seen = [letter for letter in start if unicodedata.category(letter) != "Cf"]
    return " ".join("".join(seen).split()) + name[_LONGEST_CELL:]


def _warn_of_constant(labels: LearntLabels) -> None:
    """Name labels, of several, that are the same for all documents."""
    documents = len(labels.names)
    if not labels.several or documents < 2:
        return
    for count, whom in ((0, "no document"), (documents, f"all {documents:,} documents")):
        if names := [name for name, found in labels.counts.items() if found == count]:
            log.warning(f"labels of {whom}, of which nothing is learnt: {quote_all(names)}")


def _worded(message: str) -> str:
    return DataError(message).worded()
