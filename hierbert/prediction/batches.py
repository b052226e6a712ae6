"""Texts to batches of segmented documents, prepared ahead of the encoder.

Invariant: documents come in the order of the texts, and only a few calls of the tokenizer and one
batch are held, however many texts there are.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from hierbert.model.documents import Document, DocumentLike
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.model.ragged import batches_by_tokens
from hierbert.model.segmentation import SegmentedDocument

_DOCUMENTS_PER_CALL = 32
_CHARACTERS_PER_CALL = 200_000
# Calls that are segmented while the encoder works.
_CALLS_AHEAD = 2


def segmented_batches(
    processor: HierBertProcessor, texts: Iterable[DocumentLike], batch_tokens: int
) -> Iterator[list[SegmentedDocument]]:
    """Segment documents, of which there may be no end, and batch them by tokens as needed.

    A document of more than `batch_tokens` is a batch of its own.
    """
    return batches_by_tokens(_segmented(processor, texts), lambda one: one.tokens, batch_tokens)


def _segmented(
    processor: HierBertProcessor, texts: Iterable[DocumentLike]
) -> Iterator[SegmentedDocument]:
    """Segmented documents, prepared by a worker while the encoder works on those before.

    The texts themselves are read by the caller's thread: not everything that can be read may be
    read by another.
    """
    ahead: deque[Future[list[SegmentedDocument]]] = deque()
    with ThreadPoolExecutor(1, "segmentation") as worker:
        try:
            # Parts that are worth a call of the tokenizer.
            for part in batches_by_tokens(
                texts, _characters, _CHARACTERS_PER_CALL, _DOCUMENTS_PER_CALL
            ):
                ahead.append(worker.submit(processor.segment, part))
                if len(ahead) > _CALLS_AHEAD:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            worker.shutdown(wait=True, cancel_futures=True)


def _characters(part: DocumentLike) -> int:
    if isinstance(part, Document):
        return _characters(part.text)
    return len(part) if isinstance(part, str) else sum(map(_characters, part))
