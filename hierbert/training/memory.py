"""How much of a training step fits in memory: the size of a pass, and how many graphs are kept.

Gradients do not depend on how many graphs a step keeps for its backward pass and how many it
computes again, to the last bit: only time and memory do. What `auto` finds is kept in the run
folder and used again on resume, so that a resumed run computes the same numbers in the same order.
"""

import contextlib
import ctypes
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from hierbert.config import RunConfig, TrainingConfig
from hierbert.errors import RunError, quote
from hierbert.files import read_json, write_json
from hierbert.loading.probing import probe_tokens_per_forward
from hierbert.log import log
from hierbert.model.features import collate_features
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.tasks.prepared import PreparedDocument
from hierbert.training.optimization import steps_of_epoch, trained_weights
from hierbert.training.processes import on_first_process
from hierbert.training.run_folder import PROBED, writing

_TOKENS_PER_FORWARD = "training.tokens_per_forward"
_KEPT_TOKENS = "training.kept_tokens"
# The graph of the pass that is computed again, and what its backward pass needs beside it.
_GRAPHS_OF_A_RECOMPUTED_PASS = 1.5
# What else runs on a machine wants memory too, and heaps have gaps; a GPU is one program's own.
_SHARE_OF_MACHINE = 0.5
_SHARE_OF_ACCELERATOR = 0.8
_GIB = 2**30
# Of the documents whose graphs are measured: few enough to take no time, enough that what does not
# grow with them falls out.
_SEGMENTS = 32
_SENTENCES = 256
_TOKENS_PER_SENTENCE = 16
# Files of a control group: its limit, what it uses; and what of that are files in memory.
_VERSION_1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
_VERSION_2 = "memory.max", "memory.current", "inactive_file"
_M_MMAP_THRESHOLD = -3
# What is larger finds no gap to fill in a heap that was used before.
_LARGEST_BYTES_IN_HEAP = 8 * 2**20


class LargestSizes(NamedTuple):
    """The most that comes together in one forward pass of a run; maybe not in the same pass."""

    tokens: int  # Without padding.
    segments: int
    sentences: int
    tokens_per_segment: int  # Of the longest segment.


class GraphBytes(NamedTuple):
    """Bytes that autograd holds between the forward and the backward pass."""

    per_token: int  # Of the segment encoder, padding counted; 0 where no weight of it is trained.
    per_segment: int  # Of all that follows the encoder.
    per_sentence: int


def choose_tokens_per_forward(
    config: RunConfig, accelerator: Accelerator, model: HierBertForDocuments, folder: Path
) -> None:
    """Set the size of the segment encoder's passes; arguments as those of `bound_memory`."""
    encoder = model.hierbert.segment_encoder
    tokens = config.training.tokens_per_forward
    if tokens == "auto":
        tokens = _probed_before(_TOKENS_PER_FORWARD, accelerator, folder)
        if tokens is None:
            was_training = encoder.training
            encoder.train()
            with accelerator.autocast():
                own = probe_tokens_per_forward(encoder, model.config.segment_tokens)
            encoder.train(was_training)
            tokens = gather_object([own])[0]
            _keep_probed({_TOKENS_PER_FORWARD: tokens}, accelerator, folder)
        log.info(f"tokens_per_forward: {tokens:,}, by a probe when the run began")
    encoder.tokens_per_forward = tokens


def bound_memory(
    config: RunConfig,
    accelerator: Accelerator,
    model: HierBertForDocuments,
    train: Sequence[PreparedDocument],
    folder: Path,
) -> None:
    """Set how many graphs the model's segment encoder keeps; the same on every process.

    The model is on its device and frozen as it will be trained, without gradients. What a probe
    finds is kept in the run's folder, and looked for there.
    """
    settings, encoder = config.training, model.hierbert.segment_encoder
    if settings.memory == "keep" or encoder.frozen:
        return
    sizes = largest_sizes(config, accelerator.num_processes, train)
    kept = 0
    if settings.memory == "auto":
        before = _probed_before(_KEPT_TOKENS, accelerator, folder)
        # A budget that is given may be another than before: the run had too much or too little.
        if before is None or settings.memory_budget_gib is not None:
            features = collate_features(model.features_of(), [train[0].segmented])
            graph = measure_graph_bytes(model, accelerator, sizes.tokens_per_segment, features)
            kept = _affordable_tokens(settings, accelerator, model, graph, sizes)
            found = {_KEPT_TOKENS: kept, "training.graph_bytes_per_token": graph.per_token}
            _keep_probed(found, accelerator, folder)
        else:
            kept = before
            log.info(f"memory: up to {kept:,} tokens a pass keep their graphs, as the run began")
    encoder.kept_tokens = kept
    if kept < sizes.tokens and accelerator.device.type == "cpu":
        keep_heap_flat(encoder.encoder)


def _affordable_tokens(
    settings: TrainingConfig,
    accelerator: Accelerator,
    model: HierBertForDocuments,
    graph: GraphBytes,
    sizes: LargestSizes,
) -> int:
    """Tokens of a step whose graphs fit the budget, on the process with least room."""
    encoder = model.hierbert.segment_encoder
    # Set by torchrun and accelerate launch; processes of a machine share its memory.
    here = int(os.environ.get("LOCAL_WORLD_SIZE") or accelerator.num_processes)
    budget = budget_bytes(settings, accelerator.device, here)
    per_pass = max(encoder.tokens_of_a_pass(accelerator.device), sizes.tokens_per_segment)
    needed = reserved_bytes(model, accelerator.num_processes, graph, sizes, per_pass)
    kept: int = min(gather_object([max(0, budget - needed) // graph.per_token]))
    log.info(
        f"memory: of {budget / _GIB:.2f} GiB for training, {needed / _GIB:.2f} are needed in "
        f"any case and {graph.per_token / 1024:.0f} KiB for each token whose graph is kept: "
        f"those of {min(kept, sizes.tokens):,} of up to {sizes.tokens:,} tokens a pass; others "
        "are computed again"
        + ("; a lower training.tokens_per_forward needs less" if needed > budget else "")
    )
    return kept


def largest_sizes(
    config: RunConfig, processes: int, train: Sequence[PreparedDocument]
) -> LargestSizes:
    """What the largest forward passes of a run hold, by its plan of every epoch."""
    tokens = [document.tokens for document in train]
    passes = [
        indices
        for epoch in range(config.training.epochs)
        for step in steps_of_epoch(config, tokens, processes, epoch)
        for share in step
        for indices in share
    ]

    def most(counts: list[int]) -> int:
        return max(sum(counts[index] for index in indices) for indices in passes)

    return LargestSizes(
        tokens=most(tokens),
        segments=most([len(document.segmented.segment_lengths) for document in train]),
        sentences=most([len(document.segmented.sentence_spans) for document in train]),
        tokens_per_segment=max(int(document.segmented.segment_lengths.max()) for document in train),
    )


def reserved_bytes(
    model: HierBertForDocuments,
    processes: int,
    graph: GraphBytes,
    sizes: LargestSizes,
    tokens_per_pass: int,
) -> int:
    """Bytes that a step needs when no graph of the encoder is kept.

    `tokens_per_pass` is of one pass through the segment encoder, padding included.
    """
    weights = sum(weight.numel() * weight.element_size() for _, weight in trained_weights(model))
    # Gradients and AdamW's two means; with several processes, gradients once more in buckets.
    states = weights * (3 if processes == 1 else 4)
    # The graph above the encoder is gone before the first pass is computed again.
    above = graph.per_segment * sizes.segments + graph.per_sentence * sizes.sentences
    recomputed = round(_GRAPHS_OF_A_RECOMPUTED_PASS * graph.per_token * tokens_per_pass)
    return states + max(above, recomputed)


def measure_graph_bytes(
    model: HierBertForDocuments,
    accelerator: Accelerator,
    tokens_per_segment: int,
    features: Mapping[str, Tensor] | None = None,
) -> GraphBytes:
    """Count what the graphs of short documents hold, in training mode, with the heads there are.

    The bytes are counted where autograd saves tensors, so they follow from the model, its precision
    and what of it is frozen, and not from the device's allocator or from what else runs. Weights,
    random states and the mode of the model stay as they were. `tokens_per_segment` is of the
    longest one: attention with dropout may hold its weights, so that a token of a long segment
    holds more than one of a short one.
    """
    device, encoder = accelerator.device, model.hierbert.segment_encoder
    own = [*model.parameters(), *model.buffers()]

    def of_encoder(lengths: list[int]) -> int:
        tokens = sum(lengths)
        ids = torch.full((tokens,), encoder.pad_token_id, device=device)
        index = torch.arange(tokens, device=device) // _TOKENS_PER_SENTENCE
        sizes, sentences = torch.tensor(lengths, device=device), -(-tokens // _TOKENS_PER_SENTENCE)
        return held_bytes(lambda: encoder(ids, sizes, index, sentences), own)

    def above_encoder(segments: int, sentences: int) -> int:
        def vectors(count: int) -> Tensor:
            return torch.zeros(count, model.config.hidden_size, device=device, requires_grad=True)

        index = torch.arange(sentences, device=device)
        inputs = {
            "segment_vectors": vectors(segments),
            "sentence_vectors": vectors(sentences),
            "segments_per_document": torch.tensor([segments], device=device),
            "sentences_per_document": torch.tensor([sentences], device=device),
            "sentence_segments": index * segments // sentences,
            "sentence_tokens": torch.ones_like(index),
            **{name: value.to(device) for name, value in (features or {}).items()},
        }
        return held_bytes(lambda: model(**inputs), own)

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
            one = of_encoder([tokens_per_segment])
            two = of_encoder([tokens_per_segment, max(1, tokens_per_segment - 1)])
            base = above_encoder(_SEGMENTS, _SENTENCES)
            more_segments = above_encoder(2 * _SEGMENTS, _SENTENCES)
            more_sentences = above_encoder(_SEGMENTS, 2 * _SENTENCES)
    finally:
        model.train(was_training)
        encoder.kept_tokens = kept_tokens
    return GraphBytes(
        per_token=0 if encoder.frozen else -(-(two - one) // tokens_per_segment),
        per_segment=-(-(more_segments - base) // _SEGMENTS),
        per_sentence=-(-(more_sentences - base) // _SENTENCES),
    )


def held_bytes(compute: Callable[[], object], own: Sequence[Tensor]) -> int:
    """Bytes of all storages that autograd holds for a result's backward pass, but for `own`."""
    # By where a storage begins; each stays alive, so that no other one begins there.
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


def budget_bytes(settings: TrainingConfig, device: torch.device, processes: int) -> int:
    """Bytes that each of a machine's processes may take for training: as set, or what is safe."""
    if settings.memory_budget_gib is not None:
        return round(settings.memory_budget_gib * _GIB)
    return safe_budget_bytes(device, processes)


def safe_budget_bytes(device: torch.device, processes: int) -> int:
    """Bytes that each of a machine's processes may plan with: a share of what is free now.

    A device with a memory of its own (CUDA) counts alone; else (CPU, MPS) the machine's is shared.
    In a container the system's figure is of the whole machine, but the limit that ends a process
    is that of its control group, so the smaller of both counts.
    """
    if device.type != "cpu":
        backend = torch.get_device_module(device)
        if hasattr(backend, "mem_get_info"):
            free, _ = backend.mem_get_info(device)
            # What torch has taken from the device and does not use is free for tensors too.
            idle = backend.memory_reserved(device) - backend.memory_allocated(device)
            return int(_SHARE_OF_ACCELERATOR * (free + idle))
    rooms = [int(psutil.virtual_memory().available), control_group_room()]
    return int(_SHARE_OF_MACHINE * min(room for room in rooms if room is not None)) // processes


def control_group_room(
    groups: Path = Path("/sys/fs/cgroup"), own_groups: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Bytes left under the limits of this process's control groups (Linux, versions 1 and 2).

    The tightest group from this process's up to the root counts; None without a limit.
    """
    try:
        lines = own_groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    rooms = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, names = (groups / "memory", _VERSION_1) if controllers else (groups, _VERSION_2)
        # In a container the path may be that of the host, and the root is the group itself.
        own = root / path.strip("/")
        above = [folder for folder in own.parents if folder.is_relative_to(root)]
        rooms += [_room(folder, *names) for folder in (own, *above)]
    return min((room for room in rooms if room is not None), default=None)


def _room(folder: Path, limit_name: str, used_name: str, cache_name: str) -> int | None:
    """Bytes left in one group; None where it is not there or has no limit ("max")."""
    try:
        limit = int((folder / limit_name).read_text(encoding="ascii"))
        used = int((folder / used_name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    with contextlib.suppress(OSError, ValueError):
        text = (folder / "memory.stat").read_text(encoding="ascii")
        # Files read before count as used, but the kernel drops them when memory is short.
        if cache := re.search(rf"^{cache_name} (\d+)$", text, re.MULTILINE):
            used -= int(cache[1])
    return max(0, limit - used)


def allow_large_pages() -> None:
    """Let torch take tensors of 2 MiB and more in pages of 2 MiB, where Linux has them.

    Memory that was given back costs a fault a page when it is wanted again. torch reads the setting
    once, before its first tensor on a CPU. What the user's environment says stands.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def keep_heap_flat(encoder: nn.Module) -> None:
    """Give back what is free before each training pass of an encoder, where the C library is glibc.

    Activations of many sizes leave gaps in glibc's heap, pinned by the small results between them,
    and the heap creeps up with the document though nothing leaks (measured: from 510 to 1,089 MB
    between 32 and 256 segments). Here the gaps are given back before each pass, and the largest
    tensors live outside the heap, for about a tenth more time.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    # Fixed, it is no longer raised by what is freed.
    library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES_IN_HEAP)
    trim = library.malloc_trim

    def before_pass(*_: object) -> None:
        # Without gradients passes hold little, and reading is to be fast.
        if torch.is_grad_enabled():
            trim(0)

    encoder.register_forward_pre_hook(before_pass)


def read_probed(folder: Path) -> dict[str, int]:
    """What the run found out about the machine it began on, by name.

    A RunError where the file cannot be read, or holds anything but whole numbers from 0 up.
    """
    path = folder / PROBED
    if not path.exists():
        return {}
    try:
        content = read_json(path, RunError)
        for name, value in content.items():
            if type(value) is not int or not 0 <= value < 1 << 63:
                raise RunError(f"{path}: {name}={quote(value)} is no whole number from 0 up")
    except RunError as error:
        raise RunError(f"{error}; remove it to probe again") from error
    return content


def _probed_before(name: str, accelerator: Accelerator, folder: Path) -> int | None:
    """A number that the run folder knows; the first process decides: others may not see it."""
    return on_first_process(accelerator, lambda: read_probed(folder).get(name))


def _keep_probed(found: Mapping[str, int], accelerator: Accelerator, folder: Path) -> None:
    def save() -> None:
        with writing(folder / PROBED):
            write_json(folder / PROBED, {**read_probed(folder), **found})

    on_first_process(accelerator, save)
