"""Batch inference: documents from files or standard input to one output, resumable.

Input files are checked whole before the first document is predicted, so that a broken row is told
at once and not after hours. Invariant: rows come in the order of the input, and only the documents
of the batches under way are held.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hierbert.data.corpus import Columns, Example, Text, read_examples
from hierbert.data.messages import flag_setting
from hierbert.data.sources import resolve_sources
from hierbert.errors import DataError, RunError
from hierbert.model.decoding import SummaryRule
from hierbert.prediction.batches import count_characters
from hierbert.prediction.outputs import to_row
from hierbert.prediction.partial import Output
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.progress import Progress


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

    def paths(self) -> list[Path]:
        """The files and folders that will be read.

        Raises:
            DataError: A source cannot be found.
        """
        sources = resolve_sources(self.sources, "--input", "input", input_format=self.format)
        return [source.path for source in sources if source.path is not None]

    def read(self) -> Iterator[Example]:
        """The documents, streamed.

        Raises:
            DataError: A source or a row cannot be read.
        """
        return read_examples(
            self.sources,
            self.columns,
            field="--input",
            role="input",
            encoding=self.encoding,
            setting=flag_setting,
            input_format=self.format,
        )


def check_inputs(inputs: Inputs) -> int | None:
    """Read all input once and say how much it is.

    Args:
        inputs: What to read.

    Returns:
        Its characters; None when it can be read only once and so was not read.

    Raises:
        DataError: The first row that cannot be read.
    """
    if inputs.is_stream:
        return None
    characters = 0
    with Progress(None, "checking the input") as bar:
        for example in inputs.read():
            characters += count_characters(example.text)
            bar.advance()
    return characters


def run_job(
    predictor: HierBertPredictor,
    inputs: Inputs,
    output: Output,
    tasks: Sequence[str],
    rule: SummaryRule | None = None,
    segment_vectors: bool = False,
    characters: int | None = None,
) -> None:
    """Predict every document of the input and give the output its name.

    Args:
        predictor: The model.
        inputs: What to read.
        output: Opened; documents whose rows are there already are passed over.
        tasks: Of "classify", "summarize", "embed".
        rule: How to summarize; None for the model's own way.
        segment_vectors: Whether "embed" gives those too.
        characters: Of the whole input, for the time left; None when unknown.

    Raises:
        DataError: A row cannot be read; the rows of all documents before it are written.
        RunError: The output cannot be written, or the input is another than before.
    """
    examples = inputs.read()
    passed = _pass_over(examples, output.done_ids)
    waiting: deque[Example] = deque()
    broken: DataError | None = None

    def texts() -> Iterator[Text]:
        nonlocal broken
        try:
            for example in examples:
                waiting.append(example)
                yield example.text
        except DataError as error:
            # Told at the end, so that the documents before it are answered.
            broken = error

    with Progress(characters, "predicting", unit="characters", initial=passed) as bar:
        for prediction in predictor.predict(texts(), tasks, rule, segment_vectors):
            # Predictions come in the order of the texts that were taken.
            example = waiting.popleft()
            output.write(to_row(example.id, prediction))
            bar.advance(count_characters(example.text))
    if broken is not None:
        raise broken
    output.finish()


def _pass_over(examples: Iterator[Example], done_ids: Sequence[str]) -> int:
    """Skip the documents that were predicted before; returns their characters."""
    characters = 0
    for number, done_id in enumerate(done_ids, 1):
        example = next(examples, None)
        if example is None or example.id != done_id:
            now = "missing" if example is None else repr(example.id)
            raise RunError(
                f"--resume: the input has changed: document {number} was {done_id!r} and is {now}; "
                "--overwrite starts anew"
            )
        characters += count_characters(example.text)
    return characters
