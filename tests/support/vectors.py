"""What the tests of cached vectors share: what is right, and what was encoded for it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from hierbert import HierBertForDocuments
from hierbert.model.encoding import SegmentEncoder
from hierbert.model.processing_hierbert import collate
from hierbert.model.segmentation import SegmentedDocument

LONG_AGO = 1_000_000_000.0


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Segments of every pass through a segment encoder from now on."""
    passes: list[int] = []
    forward = SegmentEncoder.forward

    def counting(self: SegmentEncoder, input_ids: Any, segment_lengths: Any, *rest: Any) -> Any:
        passes.append(len(segment_lengths))
        return forward(self, input_ids, segment_lengths, *rest)

    monkeypatch.setattr(SegmentEncoder, "forward", counting)
    return passes


def direct(
    model: HierBertForDocuments, documents: Sequence[SegmentedDocument]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors as the model gives them without any cache."""
    with torch.no_grad():
        output = model(**collate(list(documents)))
    return output.segment_vectors, output.sentence_vectors


def same(
    given: tuple[torch.Tensor, torch.Tensor], expected: tuple[torch.Tensor, torch.Tensor]
) -> bool:
    return all(
        one.dtype == torch.float32 and torch.allclose(one, other, atol=1e-5, rtol=1e-5)
        for one, other in zip(given, expected, strict=True)
    )


def vector_files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.safetensors"))


def old_file(root: Path, name: str, size_bytes: int, used_at: float) -> Path:
    path = root / f"vectors-{24 * 'a'}-float32" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size_bytes)
    os.utime(path, (used_at, used_at))
    return path
