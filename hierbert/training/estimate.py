"""What a run would take on this machine: from a short probe, before anything is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator

from hierbert.config import RunConfig
from hierbert.data.document import Example
from hierbert.loading.probing import probe_seconds_per_token
from hierbert.log import counted, format_seconds
from hierbert.tasks.results import peak_memory_mib
from hierbert.tasks.task import Task
from hierbert.training.building import build_model
from hierbert.training.memory import (
    LargestSizes,
    budget_bytes,
    measure_graph_bytes,
    reserved_bytes,
)
from hierbert.training.optimization import steps_of_epoch

_GIB = 2**30
_TOKENS_PER_SENTENCE = 25
# Of the time of a step whose graphs are computed again.
_RECOMPUTED = 4 / 3


def estimate_run(
    config: RunConfig,
    tasks: Sequence[Task],
    train: Sequence[Example],
    tokens: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    """Tokens, seconds and bytes of a run in one process, and a line that says how it was made.

    The model is built, which finds what is wrong with it (a HierBertError), and its encoder reads
    random tokens for some seconds. What is fitted and scored at the end is not in it. The texts of
    training documents are not read; `tokens` are those of each document, by split.
    """
    model, _ = build_model(config, tasks, train)
    settings = config.training
    accelerator = Accelerator(mixed_precision=settings.mixed_precision)
    device = accelerator.device
    model.to(device)
    encoder, segment = model.hierbert.segment_encoder, model.config.segment_tokens
    if isinstance(settings.tokens_per_forward, int):
        encoder.tokens_per_forward = settings.tokens_per_forward
    most = settings.segments_per_document
    read = [n if most is None else min(n, most * segment) for n in tokens["train"]]
    others = sum(map(sum, (own for split, own in tokens.items() if split != "train")))
    epochs, frozen = settings.epochs, encoder.frozen
    largest = max(
        sum(read[index] for index in indices)
        for step in steps_of_epoch(config, read, 1, 0)
        for share in step
        for indices in share
    )
    sizes = LargestSizes(
        largest, -(-largest // segment), -(-largest // _TOKENS_PER_SENTENCE), segment
    )
    graph = measure_graph_bytes(model, accelerator, segment)
    needed = reserved_bytes(model, 1, graph, sizes, encoder.tokens_of_a_pass(device))
    kept = 0
    if not frozen and settings.memory != "recompute":
        kept = largest
        if settings.memory == "auto":
            free = max(0, budget_bytes(settings, device, 1) - needed)
            kept = min(largest, free // max(1, graph.per_token))
    with accelerator.autocast():
        forward = probe_seconds_per_token(encoder, segment, backward=False)
        step = 0.0
        if not frozen:
            encoder.train()
            step = probe_seconds_per_token(encoder, segment, backward=True)
            encoder.eval()
    if frozen:
        encoded = sum(tokens["train"]) + others
        seconds = forward * encoded
    else:
        share = 1 - kept / max(1, largest)
        per_token = step * (1 + (_RECOMPUTED - 1) * share)
        encoded = epochs * sum(read)
        # Validation is read once an epoch, the test documents at the end.
        again = epochs * sum(tokens.get("validation", ())) + sum(tokens.get("test", ()))
        seconds = per_token * encoded + forward * again
        encoded += again
    held = 2**20 * (peak_memory_mib() or 0.0)
    on_gpu = device.type == "cuda"
    own = needed + kept * graph.per_token
    memory = own + (torch.cuda.memory_allocated(device) if on_gpu else held)
    where = (
        torch.cuda.get_device_name()
        if on_gpu
        else f"{counted(torch.get_num_threads(), 'thread')} of CPU"
    )
    how = "once, for the encoder is frozen" if frozen else f"in {counted(epochs, 'epoch')}"
    took = f"about {format_seconds(seconds)}" if seconds >= 1 else "less than a second"
    return {
        "tokens": encoded,
        "seconds": round(seconds, 1),
        "memory_gib": round(memory / _GIB, 2),
        "tokens_per_second_read": round(1 / forward, 1),
        "tokens_per_second_trained": round(1 / step, 1) if step else None,
        "threads": torch.get_num_threads(),
        "device": device.type,
        "line": f"{took} and {memory / _GIB:.1f} GiB on {where}: "
        f"{encoded:,} tokens are encoded {how}. A probe on random tokens, just now, read "
        f"{1 / forward:,.0f} a second"
        + (f" and trained on {1 / step:,.0f}" if step else "")
        + ". Not in it: what is fitted and scored at the end, and vectors that are cached already.",
    }
