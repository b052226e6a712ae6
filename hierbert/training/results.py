"""What a run prints and writes at its end: the table, results.json, one document's answers."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from hierbert.errors import RunError, error_text, printable
from hierbert.files import write_json
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.tasks.evaluation import Answer
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Task


def results_table(results: dict[str, Any], tasks: Sequence[Task]) -> str:
    """The tables of a run as text.

    Args:
        results: As `results.json` holds them.
        tasks: Of the run.

    Returns:
        Lines of at most 79 columns.
    """
    return "\n\n".join(table for task in reversed(tasks) for table in task.tables(results))


def sample_answer(
    document: PreparedDocument,
    answer: Answer,
    tasks: Sequence[Task],
    split: str,
    config: HierBertConfig,
) -> str:
    """One document's answers in words.

    Args:
        document: Of the split that was scored.
        answer: The model's.
        tasks: Of the run.
        split: Name of the split.
        config: The model's.

    Returns:
        Some lines.
    """
    lines = [f"One {split} document: {document.id}"]
    for task in tasks:
        lines += task.sample(document, answer.kept[task.name], config)
    # They quote what stands in a stranger's document.
    return "\n".join(printable(line) for line in lines)


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results.json whole.

    Raises:
        RunError: It cannot be written.
    """
    try:
        # A lone surrogate in a label becomes the escape that JSON has for it.
        write_json(path, results, indent=2, ensure_ascii=False)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error_text(error)}; mend that and go on with --resume"
        ) from error


def environment() -> dict[str, str]:
    """Versions that figures depend on."""
    from hierbert import __version__

    return {
        "hierbert": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
