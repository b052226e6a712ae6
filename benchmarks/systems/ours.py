"""hierbert through its own predictor, as `from_pretrained` and `classify` are used."""

import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.systems.base import Unavailable
from hierbert import HierBertPredictor
from hierbert.errors import HierBertError


class Ours:
    """The predictor with some options; Unavailable where this version has no such option."""

    def __init__(self, name: str, folder: Path, note: str = "", **options: Any) -> None:
        self.name = name
        self.note = note
        known = inspect.signature(HierBertPredictor.from_pretrained).parameters
        for option in options:
            if option not in known:
                raise Unavailable(f"not available in this version: no option {option}")
        try:
            self.predictor = HierBertPredictor.from_pretrained(folder, device="cpu", **options)
        except (HierBertError, TypeError) as error:
            raise Unavailable(f"not available in this version: {error}") from error
        names = self.predictor.model.config.id2label
        self._numbers = {names[number]: number for number in names}

    def classify(self, texts: Sequence[str]) -> list[int]:
        """The number of each document's label."""
        return [self._numbers[str(p.label)] for p in self.predictor.classify(texts)]

    def log_probabilities(self, texts: Sequence[str]) -> Tensor:
        """What `classify` answers with, float64 (D, C): logits less their logarithmic sum."""
        rows = [
            [math.log(max(share, 1e-30)) for share in (p.probabilities or {}).values()]
            for p in self.predictor.classify(texts)
        ]
        return torch.tensor(rows, dtype=torch.float64)

    def segment_vectors(self, texts: Sequence[str]) -> Tensor:
        """Of all documents one after the other, float32 (P, H)."""
        answers = self.predictor.embed(texts, segment_vectors=True)
        return torch.cat([torch.tensor(answer.segment_vectors) for answer in answers])

    def segment_texts(self, texts: Sequence[str]) -> list[list[str]]:
        """The text of each segment of each document."""
        segmented = self.predictor.processor.segment(list(texts))
        return [
            [text[start:end] for start, end in document.segment_spans]
            for text, document in zip(texts, segmented, strict=True)
        ]

    def encoded_tokens(self, texts: Sequence[str]) -> tuple[int, int]:
        """Tokens that are in the segments, and tokens that reach the encoder's embeddings.

        What is padding is counted where it costs: at the embedding table, whatever made it.
        """
        reached = 0

        def count(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            nonlocal reached
            reached += inputs[0].numel()

        table = self.predictor.model.get_input_embeddings()
        handle = table.register_forward_pre_hook(count)
        try:
            self.classify(texts)
        finally:
            handle.remove()
        documents = self.predictor.processor.segment(list(texts))
        return sum(len(document.input_ids) for document in documents), reached

    def encode_full_segments(self, segments: int) -> tuple[int, Any]:
        """The tokens of full segments, nothing to pad, and what encodes them when it is called."""
        model = self.predictor.model
        length = model.config.segment_tokens
        generator = torch.Generator().manual_seed(0)
        vocabulary = model.config.encoder_config.vocab_size
        tokens = segments * length
        arguments = {
            "input_ids": torch.randint(5, vocabulary, (tokens,), generator=generator),
            "segment_lengths": torch.full((segments,), length),
            "sentence_index": torch.arange(segments).repeat_interleave(length),
            "segments_per_document": torch.ones(segments, dtype=torch.int64),
            "sentences_per_document": torch.ones(segments, dtype=torch.int64),
        }

        def encode() -> None:
            with torch.inference_mode():
                model.hierbert(**arguments)

        return tokens, encode
