"""The short form of a look at the documents, at the start of every run: warnings in few lines."""

from collections.abc import Mapping, Sequence

from hierbert.checking.check import known_checks
from hierbert.checking.corpus import CheckedCorpus, ReadDocument
from hierbert.checking.finding import ranked
from hierbert.config import RunConfig
from hierbert.data.document import Example, words_of
from hierbert.log import counted, log
from hierbert.tasks.task import Task

# Of more, one document in some is looked at: about half a second for a million characters, where
# an encoder on a CPU takes a minute and more.
_MOST_CHARACTERS = 5_000_000
_MOST_LINES = 5
_SAID = ("duplicates_of_", "labels_without_documents_in_")


def log_findings(
    config: RunConfig, splits: Mapping[str, Sequence[Example]], tasks: Sequence[Task]
) -> None:
    """Log what misleads, of what is found without an encoder; what else there is, in one line.

    What a run says by itself, of labels and of equal documents in two splits, is not said again.
    """
    looking = [check(config) for check in known_checks() if check.is_cheap]
    examples: list[Example] = []
    numbers: dict[str, list[int]] = {}
    step = _step(splits)
    for split, own in splits.items():
        numbers[split] = []
        for example in own[::step]:
            document = ReadDocument(len(examples), split, example)
            for check in looking:
                check.add(document)
            numbers[split].append(document.number)
            examples.append(document.without_text())
    corpus = CheckedCorpus(config, examples, numbers, tasks)
    found = ranked(finding for check in looking for finding in check.findings(corpus))
    found = [one for one in found if not one.name.startswith(_SAID)]
    warnings = [one for one in found if one.severity != "note"]
    sample = f" (one in {step} was looked at)" if step > 1 else ""
    for one in warnings[:_MOST_LINES]:
        where = f"; such as {one.examples[0]}" if one.examples else ""
        log.warning(f"documents{sample}: {one.message}{where}")
    more = len(found) - len(warnings[:_MOST_LINES])
    if found:
        log.info(
            f"documents{sample}: {counted(len(warnings), 'warning')} and "
            f"{counted(len(found) - len(warnings), 'note')}; hierbert check tells "
            f"{'all' if more else 'what to do'}"
        )


def _step(splits: Mapping[str, Sequence[Example]]) -> int:
    """Of so many documents one is looked at."""
    characters = 0
    for examples in splits.values():
        for example in examples:
            text = example.text
            known = isinstance(text, str)
            characters += len(text) if known else sum(map(len, words_of(text)))
    return -(-characters // _MOST_CHARACTERS) or 1
