"""Cells of memory.py that train: steps of a real run, their time and the memory they need.

    python -m benchmarks.training_step --cell REQUEST --cell-output FILE

The run is hierbert's own, from settings, so that every memory mode is what users get. What is
measured begins with the first forward pass of a step and ends with the optimizer's; the process
ends with the last step. The first step is a small one, so that gradients and the optimizer's state
are there before the steps that count.
"""

import inspect
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from benchmarks.common.cells import answer, answer_request
from benchmarks.common.machine import GemmProbe, peak_rss_bytes, rss_bytes
from benchmarks.common.models import Shape, load_tokenizer
from benchmarks.common.text import make_segments, single_token_words
from hierbert.config import RunConfig
from hierbert.data.epoch_plan import plan_epoch
from hierbert.errors import ConfigError
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.settings import load_config
from hierbert.training.memory import allow_large_pages

SMALL_SEGMENTS = 8
SEGMENT_TOKENS = 128


class StepWatch:
    """Times the steps of a run and reads its memory, from outside the loop.

    Training ends after so many steps, or with 0 at the first forward pass.
    """

    def __init__(self, output: str, steps: int, probe: GemmProbe) -> None:
        self.output = output
        self.steps = steps
        self.probe = probe
        self.started: float | None = None
        self.segments = 0
        self.before_bytes = 0
        self.done: list[dict[str, Any]] = []

    def begin(self, segments: int) -> None:
        """A forward pass of training begins."""
        if self.started is not None:
            return
        self.speed = self.probe()
        if not self.done:
            self.before_bytes = rss_bytes()
        if self.steps == 0:
            self._leave()
        self.segments = segments
        self.started = time.perf_counter()

    def end(self) -> None:
        """The optimizer has moved the weights."""
        assert self.started is not None
        seconds = time.perf_counter() - self.started
        self.started = None
        self.done.append(
            {
                "segments": self.segments,
                "seconds": seconds,
                "probe": self.speed,
                "peak_rss_bytes": peak_rss_bytes(),
            }
        )
        if len(self.done) == self.steps:
            self._leave()

    def _leave(self) -> None:
        # At once: what a run saves at its end is no part of a step.
        answer(
            self.output,
            {
                "rss_before_bytes": self.before_bytes,
                "peak_rss_bytes": peak_rss_bytes(),
                "steps": self.done,
            },
        )
        os._exit(0)


def write_corpus(folder: Path, encoder: str, segments: int, steps: int, seed: int) -> list[int]:
    """The sizes in tokens of documents, written as segments of exactly 128: first a small one."""
    words = single_token_words(load_tokenizer(encoder))
    counts = [SMALL_SEGMENTS] + [segments] * steps
    for name, sizes in (("train", counts), ("validation", [1, 1])):
        rows = [
            {
                "id": f"{name}{number}",
                "text": make_segments(words, count, SEGMENT_TOKENS - 2, seed + number),
                "label": "ab"[number % 2],
            }
            for number, count in enumerate(sizes)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return [count * SEGMENT_TOKENS for count in counts]


def small_first(sizes: list[int], seed: int) -> int:
    """The first seed from `seed` on with which the first document is read first."""
    while True:
        plan = plan_epoch(
            sizes,
            documents_per_batch=1,
            processes=1,
            accumulation_steps=1,
            seed=seed,
            epoch=0,
            group_by_length=False,
        )
        if plan[0][0][0][0] == 0:
            return seed
        seed += 1


def measure(request: dict[str, Any], output: str) -> None:
    """Train as asked; ends the process."""
    folder = Path(output).parent
    encoder, seed, steps = request["encoder"], request["seed"], request["steps"]
    # A label more than the run may need, so that both labels are there in training.
    sizes = write_corpus(folder, encoder, request["segments"], max(1, steps), seed)
    settings = [
        f"data.train={folder / 'train.jsonl'}",
        f"data.validation={folder / 'validation.jsonl'}",
        "data.label_column=label",
        f"run_dir={folder / 'run'}",
        f"seed={small_first(sizes, seed)}",
        f"model.encoder={encoder}",
        "segmentation.list_unit=segments",
        f"segmentation.max_tokens_per_segment={SEGMENT_TOKENS}",
        "training.epochs=1",
        "training.documents_per_batch=1",
        "training.group_by_length=false",
        f"training.memory={request['mode']}",
        f"training.cache_dir={folder / 'cache'}",
        "show_sample=false",
        "baselines=false",
    ]
    try:
        config = load_config(RunConfig, None, settings)
    except ConfigError as error:
        answer(output, {"unavailable": f"not available in this version: {error}"})
        return
    shape = Shape.of(encoder)
    # As `train` does it, which is too late after the probe's own tensors.
    allow_large_pages()
    watch = StepWatch(
        output, steps + 1 if steps else 0, GemmProbe(shape.hidden_size, shape.intermediate_size)
    )
    forward = HierBertForDocuments.forward

    def watched(self: HierBertForDocuments, *arguments: Any, **named: Any) -> Any:
        if self.training and torch.is_grad_enabled():
            watch.begin(int(named["segments_per_document"].sum()))
        return forward(self, *arguments, **named)

    def stepped(optimizer: Optimizer, arguments: Any, named: Any) -> None:
        watch.end()

    # transformers and accelerate look at the signature of forward.
    watched.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    HierBertForDocuments.forward = watched  # type: ignore[method-assign]
    register_optimizer_step_post_hook(stepped)
    from hierbert.training.trainer import HierBertTrainer

    HierBertTrainer(config=config).train()


if __name__ == "__main__":
    answer_request(__doc__, measure)
