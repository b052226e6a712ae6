"""Batch inference: documents from files or standard input to one output, resumable.

Input files are checked whole before the model is loaded, so that a broken row is told at once and
not after hours. Rows go to OUTPUT.partial and get their name at the end.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hierbert.data.corpus import Columns, Example, read_examples
from hierbert.data.messages import flag_setting
from hierbert.errors import RunError
from hierbert.evaluation.answers import SummaryRule
from hierbert.prediction.outputs import StreamWriter, encode_line, finish, to_row
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.progress import Progress, say


@dataclass(frozen=True)
class Inputs:
    """What to read.

    Attributes:
        sources: Paths, globs, folders or Hub ids; ["-"] for standard input.
        columns: Which column holds what.
        encoding: Of text files.
        format: Of standard input.
    """

    sources: list[str]
    columns: Columns
    encoding: str = "utf-8"
    format: str = "jsonl"

    @property
    def is_stream(self) -> bool:
        """Whether it can be read only once."""
        return "-" in self.sources

    def read(self) -> Iterator[Example]:
        """The documents, streamed.

        Raises:
            DataError: A source or a row cannot be read.
        """
        spec = self.sources[0] if len(self.sources) == 1 else self.sources
        return read_examples(
            spec,
            self.columns,
            field="--input",
            role="input",
            encoding=self.encoding,
            setting=flag_setting,
            input_format=self.format,
        )


@dataclass(frozen=True)
class Size:
    """How much there is to do; both None when the input can be read only once."""

    documents: int | None = None
    characters: int | None = None


def check_inputs(inputs: Inputs) -> Size:
    """Read all input once and say how much it is.

    Raises:
        DataError: The first row that cannot be read.
    """
    if inputs.is_stream:
        return Size()
    documents = characters = 0
    with Progress(None, "checking the input") as bar:
        for example in inputs.read():
            documents += 1
            characters += _characters(example)
            bar.advance()
    return Size(documents, characters)


class Output:
    """Where rows go: standard output, or a file by way of a partial one.

    Args:
        path: "-" or a file.
        kind: "jsonl", "csv" or "parquet".
        settings: All that answers depend on; a job is resumed only with the same.
        resume: Go on with the rows of OUTPUT.partial.
        overwrite: Replace an output that exists.

    Raises:
        RunError: The output exists, cannot be written, or is of other settings.
    """

    def __init__(
        self, path: str, kind: str, settings: dict[str, Any], resume: bool, overwrite: bool
    ) -> None:
        self.kind = kind
        self.path = None if path == "-" else Path(path)
        self.done_ids: list[str] = []
        if self.path is None:
            if resume:
                raise RunError("--resume needs an output file; --output - cannot be resumed")
            self._writer = StreamWriter(sys.stdout, kind)
            return
        self.partial = self.path.with_name(self.path.name + ".partial")
        self._settings_path = self.path.with_name(self.path.name + ".partial.json")
        if resume and not self.partial.exists() and self.path.exists():
            raise RunError(f"--resume: {self.path} is complete, there is nothing to go on with")
        if not overwrite:
            if self.path.exists():
                raise RunError(f"--output {self.path} exists; name another file or --overwrite it")
            if self.partial.exists() and not resume:
                raise RunError(
                    f"{self.partial} is of an interrupted job: --resume goes on with it, "
                    "--overwrite starts anew"
                )
        try:
            self._open(settings, resume)
        except OSError as error:
            raise RunError(f"--output {self.path} cannot be written: {error}") from error

    def _open(self, settings: dict[str, Any], resume: bool) -> None:
        assert self.path is not None
        if resume and self.partial.exists():
            self._check_settings(settings)
            self.done_ids = _whole_rows(self.partial)
            say(f"resuming after {len(self.done_ids):,} documents")
            self._file = self.partial.open("a", encoding="utf-8")
        else:
            if not self.path.parent.is_dir():
                raise RunError(f"--output {self.path}: there is no folder {self.path.parent}")
            self._file = self.partial.open("w", encoding="utf-8")
            self._settings_path.write_text(json.dumps(settings, indent=1), encoding="utf-8")

    def _check_settings(self, settings: dict[str, Any]) -> None:
        try:
            before = json.loads(self._settings_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"--resume: {self._settings_path} cannot be read ({error}); --overwrite starts anew"
            ) from error
        now = json.loads(json.dumps(settings))
        changed = [name for name in now if now[name] != before.get(name)]
        if changed:
            shown = "; ".join(f"{name}: {before.get(name)!r} -> {now[name]!r}" for name in changed)
            raise RunError(f"--resume: the job has changed: {shown}; --overwrite starts anew")

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write rows and hand them to the system.

        Raises:
            RunError: The disk is full or gone; rows written before are kept.
        """
        if self.path is None:
            for row in rows:
                self._writer.write(row)
            sys.stdout.flush()
            return
        try:
            for row in rows:
                self._file.write(encode_line(row))
            self._file.flush()
        except OSError as error:
            raise RunError(
                f"{self.partial} cannot be written: {error}; mend that, then --resume"
            ) from error

    def finish(self) -> None:
        """Give the output its name."""
        if self.path is None:
            return
        self._file.close()
        finish(self.partial, self.path, self.kind)
        self._settings_path.unlink(missing_ok=True)


def run_job(
    predictor: HierBertPredictor,
    inputs: Inputs,
    output: Output,
    tasks: Sequence[str],
    rule: SummaryRule | None,
    segment_vectors: bool,
    size: Size,
) -> int:
    """Predict every document of the input.

    Args:
        predictor: The model.
        inputs: What to read.
        output: Where rows go; those that are there already are passed over.
        tasks: Of "classify", "summarize", "embed".
        rule: How to summarize.
        segment_vectors: Whether "embed" gives those too.
        size: As `check_inputs` says.

    Returns:
        Documents predicted.

    Raises:
        DataError: A row of standard input cannot be read; rows before it are written.
        RunError: The output cannot be written, or the input is another than before.
    """
    waiting: list[Example] = []
    with Progress(size.characters, "predicting", unit="characters") as bar:

        def texts() -> Iterator[Any]:
            for number, example in enumerate(inputs.read()):
                if number < len(output.done_ids):
                    if example.id != output.done_ids[number]:
                        raise RunError(
                            f"--resume: document {number + 1} is {example.id!r} and was "
                            f"{output.done_ids[number]!r} before; the input has changed"
                        )
                    bar.advance(_characters(example))
                    continue
                waiting.append(example)
                yield example.text

        done = 0
        for prediction in predictor.predict(texts(), tasks, rule, segment_vectors):
            # Predictions come in the order of the texts that were taken.
            example = waiting.pop(0)
            output.write([to_row(example.id, prediction)])
            bar.advance(_characters(example))
            done += 1
    output.finish()
    return done


def _whole_rows(path: Path) -> list[str]:
    """Ids of the rows in a partial output; a torn last line is cut off."""
    ids: list[str] = []
    whole = 0
    with path.open("rb") as file:
        for line in file:
            try:
                if not line.endswith(b"\n"):
                    break
                ids.append(json.loads(line)["id"])
            except (ValueError, KeyError, TypeError):
                break
            whole += len(line)
    os.truncate(path, whole)
    return ids


def _characters(example: Example) -> int:
    text = example.text
    if isinstance(text, str):
        return len(text)
    return sum(len(part) if isinstance(part, str) else sum(map(len, part)) for part in text)
