"""Examples made ready for a model: segmented, with what each task learns of them.

The last step before batches. Everything here is computed once a run, before the first step.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from hierbert.data.document import Example, is_blank
from hierbert.log import Progress, log
from hierbert.model.documents import Document
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.model.segmentation import SegmentedDocument

if TYPE_CHECKING:
    from hierbert.tasks.task import Task


# Upper ends in tokens.
_HISTOGRAM = tuple(2**power for power in range(6, 17))


@dataclass(frozen=True)
class PreparedDocument:
    """One document of a corpus as training and evaluation use it.

    Attributes:
        id: As in the corpus.
        segmented: The document's text, sentences and segments.
        targets: What each task learns of it, by the task's name; None where it has nothing.
    """

    id: str
    segmented: SegmentedDocument
    targets: dict[str, Any] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens of all segments, special tokens included."""
        return self.segmented.tokens


def prepare_documents(
    examples: Sequence[Example],
    processor: HierBertProcessor,
    tasks: Sequence["Task"],
    cache: Path | None = None,
    description: str = "segmenting",
) -> list[PreparedDocument]:
    """Segment a split's examples and make what each task learns of them, in their order.

    That none has an unknown label was seen when they were read. `cache` is a folder that keeps what
    takes long to make.
    """
    segmented: list[SegmentedDocument] = []
    with Progress(len(examples), description) as bar:
        for document in processor.segment_each(_document(one, processor) for one in examples):
            segmented.append(document)
            bar.advance()
    made = {task.name: task.prepare(examples, segmented, cache, description) for task in tasks}
    return [
        PreparedDocument(
            example.id, document, {name: targets[place] for name, targets in made.items()}
        )
        for place, (example, document) in enumerate(zip(examples, segmented, strict=True))
    ]


def _document(example: Example, processor: HierBertProcessor) -> Document:
    """What the model reads of an example, which may hold what it has to answer too."""
    return Document(example.text, {name: example.fields.get(name) for name in processor.fields})


def collate_targets(
    documents: Sequence[PreparedDocument], tasks: Sequence["Task"], hide: bool = False
) -> dict[str, Tensor]:
    """What a batch's heads learn, by the task's name, as the head's `losses` reads it.

    With `hide` every target is left out, so that the documents weigh nothing in the loss.
    """
    segmented = [document.segmented for document in documents]
    return {
        task.name: task.collate(
            [None if hide else document.targets[task.name] for document in documents], segmented
        )
        for task in tasks
    }


def lengths_of(documents: Sequence[PreparedDocument]) -> dict[str, int]:
    """Median, 90th percentile (the nearest document above), longest and sum of tokens."""
    sizes = sorted(document.tokens for document in documents)
    return {
        "documents": len(sizes),
        "median_tokens": sizes[len(sizes) // 2],
        "p90_tokens": sizes[math.ceil(0.9 * len(sizes)) - 1],
        "longest_tokens": sizes[-1],
        "tokens": sum(sizes),
    }


def length_histogram(splits: Mapping[str, Sequence[PreparedDocument]]) -> dict[str, Any]:
    """How many documents of each split are of a range of lengths in tokens.

    "from" and "to" (None: no end) of each range, each twice as long as the one before, from the
    shortest document to the longest; and "splits", the documents in each.
    """
    sizes = {name: [one.tokens for one in documents] for name, documents in splits.items()}
    every = [size for own in sizes.values() for size in own]
    ends = [end for end in _HISTOGRAM if min(every) <= end < max(every)]
    starts = [0, *(end + 1 for end in ends)]
    counts = {name: [0] * len(starts) for name in sizes}
    for name, own in sizes.items():
        for size in own:
            counts[name][bisect_left(ends, size)] += 1
    return {"from": starts, "to": [*ends, None], "splits": counts}


def log_documents(name: str, examples: Sequence[Example], tasks: Sequence["Task"]) -> None:
    """Log a split's size, and what is missing in it."""
    notes = [note for task in tasks if (note := task.note(examples))]
    blank = sum(is_blank(example.text) for example in examples)
    if blank:
        notes.append(f"{blank:,} without text")
    log.info(f"{name}: {len(examples):,} documents" + (f" ({', '.join(notes)})" if notes else ""))


def log_lengths(
    splits: Mapping[str, Sequence[PreparedDocument]], processor: HierBertProcessor
) -> None:
    """Say how long the documents are, and what was left out of them."""
    for name, documents in splits.items():
        numbers = lengths_of(documents)
        log.info(
            f"{name}: {numbers['tokens']:,} tokens in segments of up to "
            f"{processor.max_tokens_per_segment}; a document has {numbers['median_tokens']:,} "
            f"(median), {numbers['p90_tokens']:,} (90 %), {numbers['longest_tokens']:,} (longest)"
        )
        omissions = [d.segmented.omission for d in documents if d.segmented.omission]
        if omissions:
            tokens = sum(omission.tokens for omission in omissions)
            share = 100 * tokens / (tokens + numbers["tokens"])
            log.info(
                f"{name}: segmentation.max_segments={processor.max_segments} left out "
                f"{tokens:,} tokens ({share:.1f} %) of {len(omissions):,} documents"
            )
