"""What a model's graph holds for the backward pass, in bytes, by a measured forward.

The bytes are counted where autograd saves tensors, so they follow from the model, its precision and
what of it is frozen, and from nothing else: not from the device's allocator, not from what else
runs. Each storage counts once, and weights, which are there anyway, not at all.
Nothing is changed: not the weights, not the random states, not the mode of the model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from hierbert.model.modeling_hierbert import HierBertForDocuments

_TOKENS_PER_SENTENCE = 16
# Few enough to take no time, enough that what does not grow with them falls out.
_SEGMENTS = 32
_SENTENCES = 256


@dataclass(frozen=True)
class GraphBytes:
    """Bytes that autograd holds between the forward and the backward pass.

    Attributes:
        per_token: Of the segment encoder, for each padded token whose graph is kept; 0 where no
            weight of it is trained.
        per_segment: Of all that follows the encoder, for each segment.
        per_sentence: The same for each sentence.
    """

    per_token: int
    per_segment: int
    per_sentence: int


def measure_graph_bytes(
    model: HierBertForDocuments, accelerator: Accelerator, tokens_per_segment: int
) -> GraphBytes:
    """Count what the graphs of short documents hold, in training mode.

    Args:
        model: On its device, frozen as it will be trained.
        accelerator: Its precision is used.
        tokens_per_segment: Of the longest segment: attention with dropout may hold its weights,
            so that a token of a long segment holds more than one of a short one.

    Returns:
        The bytes; those of shorter segments are fewer.
    """
    device = accelerator.device
    encoder = model.hierbert.segment_encoder
    hidden = model.config.hidden_size
    own = [*model.parameters(), *model.buffers()]

    def encode(lengths: list[int]) -> Callable[[], object]:
        tokens = sum(lengths)
        ids = torch.full((tokens,), encoder.pad_token_id, device=device)
        sentence_index = torch.arange(tokens, device=device) // _TOKENS_PER_SENTENCE
        sizes = torch.tensor(lengths, device=device)
        sentences = -(-tokens // _TOKENS_PER_SENTENCE)
        return lambda: encoder(ids, sizes, sentence_index, sentences)

    def answer(segments: int, sentences: int) -> Callable[[], object]:
        index = torch.arange(sentences, device=device)
        return lambda: model(
            segment_vectors=torch.zeros(segments, hidden, device=device, requires_grad=True),
            sentence_vectors=torch.zeros(sentences, hidden, device=device, requires_grad=True),
            segments_per_document=torch.tensor([segments], device=device),
            sentences_per_document=torch.tensor([sentences], device=device),
            sentence_segments=index * segments // sentences,
            sentence_tokens=torch.ones_like(index),
        )

    was_training, kept_tokens = model.training, encoder.kept_tokens
    devices = [] if device.type in ("cpu", "mps") else [device]
    try:
        model.train()
        encoder.kept_tokens = None
        with (
            torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"),
            accelerator.autocast(),
        ):
            # Differences leave out what is held once, such as weights in another precision.
            # The second forward has padding, and so a mask.
            one = held_bytes(encode([tokens_per_segment]), own)
            two = held_bytes(encode([tokens_per_segment, max(1, tokens_per_segment - 1)]), own)
            base = held_bytes(answer(_SEGMENTS, _SENTENCES), own)
            more_segments = held_bytes(answer(2 * _SEGMENTS, _SENTENCES), own)
            more_sentences = held_bytes(answer(_SEGMENTS, 2 * _SENTENCES), own)
    finally:
        model.train(was_training)
        encoder.kept_tokens = kept_tokens
    return GraphBytes(
        per_token=0 if encoder.frozen else -(-(two - one) // tokens_per_segment),
        per_segment=-(-(more_segments - base) // _SEGMENTS),
        per_sentence=-(-(more_sentences - base) // _SENTENCES),
    )


def held_bytes(compute: Callable[[], object], own: list[Tensor] | list[nn.Parameter]) -> int:
    """Bytes of all storages that autograd holds for the backward pass of something.

    Args:
        compute: Its result holds the graph.
        own: Tensors whose storages do not count.

    Returns:
        The bytes.
    """
    # Two numbers of a storage: where it begins, and the storage itself, which thereby stays alive
    # so that no other one begins there.
    held: dict[int, torch.UntypedStorage] = {}
    left_out = {tensor.untyped_storage().data_ptr() for tensor in own}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in left_out:
            held[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        compute()
    return sum(storage.nbytes() for storage in held.values())
