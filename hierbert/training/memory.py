"""How many graphs a training step keeps for its backward pass, and how many it computes again.

Gradients do not depend on it, to the last bit: only time and memory do. What `training.memory=auto`
finds is written to the run folder and used again on resume. Dividing the documents of a step into
passes is not done here, but by `hierbert.data.epoch_plan`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from hierbert.config import RunConfig
from hierbert.data.documents import PreparedDocument
from hierbert.data.epoch_plan import plan_epoch
from hierbert.heap import keep_heap_flat
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.progress import say
from hierbert.training.device_memory import safe_budget_bytes
from hierbert.training.graph_bytes import GraphBytes, measure_graph_bytes
from hierbert.training.optimization import trained_weights
from hierbert.training.run_folder import read_probed, save_probed

_KEPT_TOKENS = "training.kept_tokens"
# The graph of the pass that is computed again, and what its backward pass needs beside it.
_GRAPHS_OF_A_RECOMPUTED_PASS = 1.5
_GIB = 2**30


@dataclass(frozen=True)
class LargestSizes:
    """The most that comes together in one forward pass of a run; maybe not in the same pass.

    Attributes:
        tokens: Padding not included.
        segments: Of all its documents.
        sentences: Of all its documents.
        tokens_per_segment: Of the longest segment.
    """

    tokens: int
    segments: int
    sentences: int
    tokens_per_segment: int


def bound_memory(
    config: RunConfig,
    accelerator: Accelerator,
    model: HierBertForDocuments,
    train: Sequence[PreparedDocument],
    folder: Path,
) -> None:
    """Set what the model's segment encoder keeps in training; the same on every process.

    Args:
        config: Of the run; `training.memory` and `training.memory_budget_gib` are read.
        accelerator: The run's.
        model: On its device, frozen as it will be trained; no gradients yet.
        train: Training documents.
        folder: The run's, where the result of a probe is kept and looked for.

    Raises:
        RunError: What an earlier start of the run found cannot be read, or not be written.
    """
    memory, encoder = config.training.memory, model.hierbert.segment_encoder
    if memory == "keep" or encoder.frozen:
        return
    sizes = largest_sizes(config, accelerator.num_processes, train)
    kept = 0
    if memory == "auto":
        kept = _probed_tokens(config, accelerator, model, sizes, folder)
    encoder.kept_tokens = kept
    if kept < sizes.tokens and accelerator.device.type == "cpu":
        keep_heap_flat(encoder.encoder)


def _probed_tokens(
    config: RunConfig,
    accelerator: Accelerator,
    model: HierBertForDocuments,
    sizes: LargestSizes,
    folder: Path,
) -> int:
    """Tokens, padding included, of one forward pass whose graphs fit the budget."""
    # The first process decides: others may not see its folder.
    saved = gather_object([read_probed(folder).get(_KEPT_TOKENS)])[0]
    # A budget that is given may be another than before: the run had too much or too little.
    if saved is not None and config.training.memory_budget_gib is None:
        say(f"memory: up to {saved:,} tokens a pass keep their graphs, as the run began")
        return int(saved)
    graph = measure_graph_bytes(model, accelerator, sizes.tokens_per_segment)
    budget = _budget_bytes(config, accelerator)
    encoder = model.hierbert.segment_encoder
    tokens_per_pass = max(encoder.tokens_of_a_pass(accelerator.device), sizes.tokens_per_segment)
    needed = reserved_bytes(model, accelerator.num_processes, graph, sizes, tokens_per_pass)
    kept = min(gather_object([max(0, budget - needed) // graph.per_token]))
    if accelerator.is_main_process:
        found = {_KEPT_TOKENS: kept, "training.graph_bytes_per_token": graph.per_token}
        save_probed(folder, found)
    accelerator.wait_for_everyone()
    _report(kept, sizes, graph, budget, needed)
    return kept


def largest_sizes(
    config: RunConfig, processes: int, train: Sequence[PreparedDocument]
) -> LargestSizes:
    """What the largest forward passes of a run hold, by its plan of every epoch.

    Args:
        config: Of the run.
        processes: That share each step.
        train: Training documents, at least one.

    Returns:
        The sizes.
    """
    settings = config.training
    tokens = [document.tokens for document in train]
    segments = [len(document.segmented.segment_lengths) for document in train]
    sentences = [len(document.segmented.sentence_spans) for document in train]
    passes = [
        indices
        for epoch in range(settings.epochs)
        for step in plan_epoch(
            tokens,
            documents_per_batch=settings.documents_per_batch,
            processes=processes,
            accumulation_steps=settings.accumulation_steps,
            seed=config.seed,
            epoch=epoch,
            group_by_length=settings.group_by_length,
        )
        for share in step
        for indices in share
    ]

    def most(counts: list[int]) -> int:
        return max(sum(counts[index] for index in indices) for indices in passes)

    return LargestSizes(
        tokens=most(tokens),
        segments=most(segments),
        sentences=most(sentences),
        tokens_per_segment=max(int(document.segmented.segment_lengths.max()) for document in train),
    )


def reserved_bytes(
    model: HierBertForDocuments,
    processes: int,
    graph: GraphBytes,
    sizes: LargestSizes,
    tokens_per_pass: int,
) -> int:
    """What a step needs when no graph of the encoder is kept.

    Args:
        model: With the weights that are trained.
        processes: Several need room to exchange gradients.
        graph: What graphs hold.
        sizes: Of the largest forward pass.
        tokens_per_pass: Of one pass through the segment encoder, padding included.

    Returns:
        Bytes.
    """
    weights = sum(weight.numel() * weight.element_size() for _, weight in trained_weights(model))
    # Gradients and AdamW's two means; with several processes, gradients once more in buckets.
    states = weights * (3 if processes == 1 else 4)
    # The graph above the encoder is gone before the first pass is computed again.
    above = graph.per_segment * sizes.segments + graph.per_sentence * sizes.sentences
    recomputed = round(_GRAPHS_OF_A_RECOMPUTED_PASS * graph.per_token * tokens_per_pass)
    return states + max(above, recomputed)


def _budget_bytes(config: RunConfig, accelerator: Accelerator) -> int:
    given = config.training.memory_budget_gib
    if given is not None:
        return round(given * _GIB)
    # Set by torchrun and accelerate launch; processes of a machine share its memory.
    here = int(os.environ.get("LOCAL_WORLD_SIZE") or accelerator.num_processes)
    return safe_budget_bytes(accelerator.device, here)


def _report(kept: int, sizes: LargestSizes, graph: GraphBytes, budget: int, needed: int) -> None:
    """One line on what was chosen and why."""
    most = sizes.tokens
    if kept >= most:
        chosen = f"all graphs are kept (a pass has up to {most:,} tokens)"
    elif kept:
        chosen = (
            f"the graphs of {kept:,} tokens a pass are kept, those of the others (a pass has up to "
            f"{most:,}) are computed again"
        )
    else:
        chosen = f"every graph is computed again (a pass has up to {most:,} tokens)"
    line = (
        f"memory: of {budget / _GIB:.2f} GiB for training, {needed / _GIB:.2f} are needed in any "
        f"case and {graph.per_token / 1024:.0f} KiB for each token whose graph is kept: {chosen}"
    )
    if needed > budget:
        line += "; a lower training.tokens_per_forward needs less"
    say(line)
