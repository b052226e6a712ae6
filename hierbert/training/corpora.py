"""The corpora of a run: read, checked, labels learnt, a validation split made if none is given."""

from collections.abc import Mapping
from typing import Any

from hierbert.checking.short import log_findings
from hierbert.config import RunConfig
from hierbert.data.corpus import find_corpora, load_examples
from hierbert.data.document import Example
from hierbert.data.repeated import warn_of_repeated
from hierbert.log import is_first_process, log
from hierbert.tasks.corpora import columns_of, hold_out, refuse_no_texts
from hierbert.tasks.prepared import log_documents
from hierbert.tasks.task import Task, learn_tasks


def load_corpora(
    config: RunConfig, given: Mapping[str, Any] | None = None
) -> tuple[dict[str, list[Example]], list[Task]]:
    """Read and check all documents of a run, and learn its tasks, at least one.

    Splits that are `given` take the place of those that the settings name. There are "train" and
    "validation", of at least one example each, and "test" where there is one.
    """
    data, columns = config.data, columns_of(config)
    specs = {role: getattr(data, role) for role in ("train", "validation", "test")}
    specs |= given or {}
    sources = find_corpora({r: spec for r, spec in specs.items() if spec is not None}, columns)
    read = {role: load_examples(found, columns, data.encoding) for role, found in sources.items()}
    train, validation, test = read["train"], read.get("validation"), read.get("test")
    refuse_no_texts(config, train)
    tasks = learn_tasks(config, train)
    for task in tasks:
        for split in (train, validation or [], test or []):
            for example in split:
                task.encode(example)
    if validation is None:
        train, validation = hold_out(config, train, tasks)
        log.info(f"validation: {len(validation):,} of the training documents, held out by the seed")
    splits = {"train": train, "validation": validation}
    if test is not None:
        splits["test"] = test
    for name, examples in splits.items():
        log_documents(name, examples, tasks)
    warn_of_repeated(splits)
    if config.check_data and is_first_process():
        log_findings(config, splits, tasks)
    return splits, tasks
