"""Short measurements that choose what depends on the machine: the precision, the size of a pass.

On many CPUs bfloat16 is slower than float32, and large passes are slower than small ones. A probe
takes seconds. Its result is the caller's to keep: answers differ by a rounding error between sizes,
and visibly between precisions.
"""

import copy
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from transformers import PreTrainedModel

from hierbert.model.encoding import CPU_TOKENS_PER_FORWARD, Runtime, SegmentEncoder

_CPU_CANDIDATES = (1_024, 2_048, 4_096)
_ACCELERATOR_CANDIDATES = (8_192, 16_384, 32_768, 65_536, 131_072)
_ROUNDS = 3
_SECONDS = 10.0
FLOAT_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CPU_DTYPE_PROBE_TOKENS = 1_024
_ACCELERATOR_DTYPE_PROBE_TOKENS = 16_384
# Another precision, or another library, must be worth it.
LEAST_GAIN = 1.1

Name = TypeVar("Name")


def probe_tokens_per_forward(encoder: SegmentEncoder, segment_tokens: int) -> int:
    """Tokens of the encoder's pass that takes least time per token on this machine, now.

    In training mode the backward pass is measured too, and gradients are cleared.
    """
    device = next(encoder.parameters()).device
    candidates = _CPU_CANDIDATES if device.type == "cpu" else _ACCELERATOR_CANDIDATES
    sizes = sorted({max(1, size // segment_tokens) for size in candidates})
    backward = encoder.training and not encoder.frozen
    runs = {
        size: _pass(encoder.encoder, size, segment_tokens, backward, encoder.runtime)
        for size in sizes
    }
    # Dropout must not move the generators that training draws from.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seconds = {size: value / size for size, value in _median_seconds(runs, device).items()}
    encoder.zero_grad(set_to_none=True)
    return min(seconds, key=lambda size: seconds[size]) * segment_tokens


def probe_seconds_per_token(encoder: SegmentEncoder, segment_tokens: int, backward: bool) -> float:
    """What a token of full segments costs in the encoder's passes, on this machine, now."""
    device = next(encoder.parameters()).device
    segments = max(1, encoder.tokens_of_a_pass(device) // segment_tokens)
    run = _pass(encoder.encoder, segments, segment_tokens, backward)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seconds = _median_seconds({segments: run}, device)[segments]
    encoder.zero_grad(set_to_none=True)
    return seconds / (segments * segment_tokens)


def probe_dtype(encoder: PreTrainedModel, segment_tokens: int) -> str:
    """The precision in which an encoder, in float32 on its device, is fastest on this machine.

    "float32", unless "bfloat16" or "float16" takes at least 1.1 times less time and gives finite
    numbers.
    """
    device = next(encoder.parameters()).device
    on_cpu = device.type == "cpu"
    tokens = _CPU_DTYPE_PROBE_TOKENS if on_cpu else _ACCELERATOR_DTYPE_PROBE_TOKENS
    segments = max(1, tokens // segment_tokens)
    runs = {}
    for name, dtype in FLOAT_DTYPES.items():
        other = encoder if name == "float32" else copy.deepcopy(encoder).to(dtype)
        run = _pass(other, segments, segment_tokens, backward=False)
        try:
            finite = bool(run().isfinite().all())
        except RuntimeError:
            # Not every device computes in every precision.
            continue
        if finite:
            runs[name] = run
    seconds = _median_seconds(runs, device)
    fastest = min(seconds, key=lambda name: seconds[name])
    if "float32" not in seconds or seconds["float32"] >= LEAST_GAIN * seconds[fastest]:
        return fastest
    return "float32"


def probe_runtime(
    encoder: SegmentEncoder, runtimes: Mapping[str, Runtime], segment_tokens: int
) -> dict[str, float]:
    """Median seconds of a pass of an encoder in float32 on a CPU: "torch", and each runtime."""
    segments = max(1, CPU_TOKENS_PER_FORWARD // segment_tokens)
    runs = {"torch": _pass(encoder.encoder, segments, segment_tokens, False)}
    for name, runtime in runtimes.items():
        runs[name] = _pass(encoder.encoder, segments, segment_tokens, False, runtime)
    return _median_seconds(runs, encoder.encoder.device)


def _pass(
    encoder: PreTrainedModel,
    segments: int,
    segment_tokens: int,
    backward: bool,
    runtime: Runtime | None = None,
) -> Callable[[], torch.Tensor]:
    """One pass over full segments of tokens drawn from a generator of its own."""
    generator = torch.Generator().manual_seed(0)
    shape = (segments, segment_tokens)
    ids = torch.randint(0, int(encoder.config.vocab_size), shape, generator=generator)
    ids = ids.to(encoder.device)

    def run() -> torch.Tensor:
        if runtime is not None:
            return runtime(ids, torch.ones_like(ids, dtype=torch.bool))
        with torch.set_grad_enabled(backward):
            states: torch.Tensor = encoder(input_ids=ids)[0]
            if backward:
                states.float().sum().backward()
        return states.detach()

    return run


def _median_seconds(
    runs: Mapping[Name, Callable[[], torch.Tensor]], device: torch.device
) -> dict[Name, float]:
    """Median time of each run, measured in turns so that a busy moment hits all of them."""
    times: dict[Name, list[float]] = {name: [] for name in runs}
    started = time.monotonic()
    for number in range(_ROUNDS + 1):
        for name in list(times):
            before = time.perf_counter()
            try:
                runs[name]()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
            except torch.OutOfMemoryError:
                del times[name]
                continue
            # The first round warms caches up.
            if number:
                times[name].append(time.perf_counter() - before)
        if number and time.monotonic() - started > _SECONDS:
            break
    return {name: statistics.median(values) for name, values in times.items()}
