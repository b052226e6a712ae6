"""Memory of training: any number of kept graphs gives the same gradients and holds what it may."""

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from commands import ROOT, succeed
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import Settings, bits_of
from training import error_of, weights
from transformers import BertConfig

from hierbert import HierBertConfig, HierBertForDocuments
from hierbert.cli.train import main
from hierbert.model.encoding import SegmentEncoder
from hierbert.training import memory
from hierbert.training.memory import (
    GraphBytes,
    LargestSizes,
    control_group_room,
    held_bytes,
    measure_graph_bytes,
    reserved_bytes,
)

PER_PASS = 128


def make_model(layers: int, tokens_per_forward: int, summarization: bool) -> HierBertForDocuments:
    """A tiny one with dropout, in training mode."""
    torch.manual_seed(0)
    text_config = BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
    )
    config = HierBertConfig(
        text_config=text_config.to_dict(),
        num_labels=3,
        summarization=summarization,
        tokens_per_forward=tokens_per_forward,
    )
    return HierBertForDocuments(config).train()


@pytest.fixture(scope="module")
def model() -> HierBertForDocuments:
    """Two layers, both heads."""
    return make_model(2, PER_PASS, summarization=True)


def make_batch(lengths: list[int]) -> dict[str, torch.Tensor]:
    """One document of random tokens, a sentence for every 8."""
    tokens = sum(lengths)
    chance = torch.Generator().manual_seed(1)
    index = torch.arange(tokens) // 8
    sentences = int(index.max()) + 1
    starts = torch.cumsum(torch.tensor(lengths), 0) - torch.tensor(lengths)
    return {
        "input_ids": torch.randint(5, 100, (tokens,), generator=chance),
        "segment_lengths": torch.tensor(lengths),
        "sentence_index": index,
        "segments_per_document": torch.tensor([len(lengths)]),
        "sentences_per_document": torch.tensor([sentences]),
        "sentence_segments": torch.searchsorted(starts, torch.arange(sentences) * 8, right=True)
        - 1,
        "sentence_tokens": torch.full((sentences,), 8),
        "labels": torch.tensor([1]),
        "sentence_labels": (torch.arange(sentences) % 3 == 0).float(),
    }


@contextlib.contextmanager
def training(
    model: HierBertForDocuments, kept: int | None = None, layers: int = 2
) -> Iterator[SegmentEncoder]:
    """The model's encoder, keeping graphs of so many tokens and training so many layers."""
    encoder = model.hierbert.segment_encoder
    encoder.kept_tokens = kept
    if layers == 1:
        encoder.freeze(1)
    try:
        yield encoder
    finally:
        encoder.kept_tokens = None
        encoder.encoder.requires_grad_(True)


def held(
    model: HierBertForDocuments, lengths: list[int], kept: int | None = None, layers: int = 2
) -> int:
    """Bytes that the encoder's graph of a document holds."""
    batch = make_batch(lengths)
    inputs = [batch[name] for name in ("input_ids", "segment_lengths", "sentence_index")]
    own, sentences = [*model.parameters(), *model.buffers()], len(batch["sentence_tokens"])
    with training(model, kept, layers) as encoder:
        return held_bytes(lambda: encoder(*inputs, sentences), own)


def gradients(
    model: HierBertForDocuments, batch: dict[str, torch.Tensor], kept: int | None, layers: int = 2
) -> dict[str, torch.Tensor]:
    with training(model, kept, layers):
        model.zero_grad()
        torch.manual_seed(7)
        model(**batch).loss.backward()
        return {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}


@pytest.mark.parametrize("layers", [2, 1])
def test_gradients_are_the_same_bits_whatever_is_kept(model, layers) -> None:
    @settings(max_examples=8, deadline=None)
    @given(st.lists(st.integers(1, 100), min_size=1, max_size=8), st.integers(0, 600))
    def check(lengths: list[int], kept: int) -> None:
        batch = make_batch(lengths)
        expected = gradients(model, batch, None, layers)
        assert any("encoder.encoder" in name and g.any() for name, g in expected.items())
        for choice in (0, kept):
            found = gradients(model, batch, choice, layers)
            assert found.keys() == expected.keys()
            assert all(found[name].equal(expected[name]) for name in expected)

    check()
    # With dropout, or equality would say little.
    batch = make_batch([40, 30])
    first = gradients(model, batch, 0, layers)
    other = gradients(model.eval(), batch, 0, layers)
    model.train()
    assert max((first[name] - other[name]).abs().max().item() for name in first) > 1e-4


def test_no_more_graphs_are_held_than_may_be_kept(model) -> None:
    everything, nothing = (held(model, [64] * 20, kept) for kept in (None, 0))
    assert nothing < everything / 10
    # Ten passes of 128 tokens; a pass is kept whole or not at all.
    for kept, passes in ((127, 0), (128, 1), (500, 3), (1280, 10), (10**9, 10)):
        expected = nothing + passes * (everything - nothing) / 10
        assert held(model, [64] * 20, kept) == pytest.approx(expected, rel=0.01)
    # A smaller pass is kept where a larger one no longer fits.
    some, fewer = (held(model, [100, 90, 10], kept) for kept in (115, 100))
    assert some - fewer == pytest.approx(held(model, [10]), rel=0.2)


@pytest.mark.parametrize("layers", [2, 1])
def test_the_probe_foretells_what_documents_hold(model, layers) -> None:
    with training(model, None, layers):
        graph = measure_graph_bytes(model, Accelerator(), 64)
    for lengths in ([64] * 30, [64, 60, 50, 33, 20, 7] * 10):
        most = graph.per_token * len(lengths) * 64
        assert held(model, lengths, None, layers) <= 1.01 * most
    assert held(model, [64] * 30, None, layers) >= 0.9 * graph.per_token * 30 * 64


def test_the_probe_foretells_what_is_held_above_the_encoder(model) -> None:
    graph = measure_graph_bytes(model, Accelerator(), 16)
    batch, own = make_batch([16] * 400), [*model.parameters(), *model.buffers()]
    foretold = graph.per_segment * 400 + graph.per_sentence * 800
    # The losses, and tensors that both parts hold.
    above = held_bytes(lambda: model(**batch), own) - held(model, [16] * 400)
    assert above == pytest.approx(foretold, rel=0.05)


def test_the_probe_changes_nothing(model) -> None:
    model.zero_grad()
    encoder = model.hierbert.segment_encoder
    encoder.kept_tokens = 5
    model.eval()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = measure_graph_bytes(model, Accelerator(), 32)
    assert torch.get_rng_state().equal(before)
    assert not model.training and encoder.kept_tokens == 5
    assert all(weight.grad is None for weight in model.parameters())
    torch.manual_seed(2)
    assert measure_graph_bytes(model, Accelerator(), 32) == first
    encoder.kept_tokens = None
    model.train()


def test_what_is_reserved_is_weights_states_and_the_larger_of_two_graphs(model) -> None:
    weights = sum(weight.numel() for weight in model.parameters()) * 4
    sizes = LargestSizes(tokens=9_000, segments=100, sentences=1_000, tokens_per_segment=64)
    small_head = GraphBytes(per_token=1_000, per_segment=1, per_sentence=1)
    assert reserved_bytes(model, 1, small_head, sizes, 200) == 3 * weights + 300_000
    large_head = GraphBytes(per_token=1_000, per_segment=1_000, per_sentence=400)
    assert reserved_bytes(model, 1, large_head, sizes, 200) == 3 * weights + 500_000
    assert reserved_bytes(model, 2, large_head, sizes, 200) == 4 * weights + 500_000


def test_the_tightest_control_group_limits_memory(tmp_path) -> None:
    groups, own_groups = tmp_path / "groups", tmp_path / "own"

    def put(folder: str, **files: object) -> None:
        (groups / folder).mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (groups / folder / name.replace("__", ".")).write_text(f"{value}\n")

    assert control_group_room(groups, own_groups) is None
    own_groups.write_text("0::/a/b\n")
    assert control_group_room(groups, own_groups) is None
    put("a/b", memory__max="max", memory__current=10)
    assert control_group_room(groups, own_groups) is None
    put("a", memory__max=1_000, memory__current=700, memory__stat="anon 600\ninactive_file 50")
    assert control_group_room(groups, own_groups) == 350
    put("a/b", memory__max=100, memory__current=10, memory__stat="active_file 5")
    assert control_group_room(groups, own_groups) == 90
    put("", memory__max=60, memory__current=80)
    assert control_group_room(groups, own_groups) == 0
    # Version 1, in a container: the path is that of the host.
    own_groups.write_text("12:cpu,cpuacct:/x\n4:hugetlb,memory:/docker/123\n0::/gone\n")
    (groups / "memory.max").unlink()
    limits = {"memory__limit_in_bytes": 500, "memory__usage_in_bytes": 200}
    put("memory", **limits, memory__stat="inactive_file 1\ntotal_inactive_file 20")
    assert control_group_room(groups, own_groups) == 320


def test_processes_of_a_machine_share_half_of_what_is_free(monkeypatch) -> None:
    monkeypatch.setattr(memory, "control_group_room", lambda: 1_000)
    assert memory.safe_budget_bytes(torch.device("cpu"), 1) == 500
    assert memory.safe_budget_bytes(torch.device("cpu"), 4) == 125


@pytest.fixture
def small(arguments, tmp_path) -> Settings:
    """What makes the arguments of a run that takes a second; a step has about 250 tokens."""
    common = ["training.tokens_per_forward=64", "training.epochs=1", "data.test="]
    return lambda name, *more: arguments(*common, f"run_dir={tmp_path / name}", *more)


@pytest.mark.parametrize("mode", ["keep", "recompute"])
def test_a_budget_that_nothing_reads_is_refused(small, capsys, mode) -> None:
    error = error_of(
        capsys, small("run", f"training.memory={mode}", "training.memory_budget_gib=2")
    )
    assert "training.memory_budget_gib=2.0 is for training.memory=auto" in error


def probed(run_dir: Path) -> dict[str, int]:
    return json.loads((run_dir / "probed.json").read_text())


def budget_for(run_dir: Path, tokens: int) -> float:
    """GiB with which a run like this one keeps the graphs of about so many tokens."""
    found = probed(run_dir)
    values = sum(value.numel() for value in weights(run_dir).values())
    per_token = found["training.graph_bytes_per_token"]
    return (12 * values + per_token * (1.5 * 64 + tokens)) / 2**30


def test_a_run_keeps_what_fits_and_ends_with_the_same_bits(small, tmp_path, capsys) -> None:
    def run(name: str, *overrides: str) -> str:
        capsys.readouterr()
        assert main(small(name, *overrides)) == 0
        lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("memory: ")]
        assert len(lines) == (name != "keep")
        return "".join(lines)

    run("keep", "training.memory=keep")
    assert not (tmp_path / "keep" / "probed.json").exists()
    (most,) = re.findall(r"those of ([\d,]+) of up to \1 tokens", run("auto"))
    tiny = run("tiny", "training.memory_budget_gib=1e-6")
    assert f"those of 0 of up to {most} tokens" in tiny and "tokens_per_forward" in tiny
    assert probed(tmp_path / "tiny")["training.kept_tokens"] == 0
    run("some", f"training.memory_budget_gib={budget_for(tmp_path / 'auto', 100)}")
    assert 95 <= probed(tmp_path / "some")["training.kept_tokens"] <= 105
    for name in ("auto", "tiny", "some"):
        assert bits_of(tmp_path / "keep") == bits_of(tmp_path / name), name


def test_a_resumed_run_uses_what_was_probed(small, tmp_path, monkeypatch, capsys) -> None:
    assert main(small("run")) == 0
    before = (tmp_path / "run" / "probed.json").read_bytes()
    kept = probed(tmp_path / "run")["training.kept_tokens"]
    assert kept > 0
    # The machine is another one now.
    monkeypatch.setattr(memory, "safe_budget_bytes", lambda *_: 0)
    monkeypatch.setattr(memory, "measure_graph_bytes", None)
    capsys.readouterr()
    assert main([*small("run"), "--resume"]) == 0
    assert f"memory: up to {kept:,} tokens a pass" in capsys.readouterr().err
    assert (tmp_path / "run" / "probed.json").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Expecting property name"),
        ('{"training.kept_tokens": -1}', "training.kept_tokens=-1"),
        ('{"training.kept_tokens": true}', "training.kept_tokens=True"),
    ],
)
def test_a_damaged_probe_is_one_line(small, tmp_path, capsys, content, said) -> None:
    assert main(small("run")) == 0
    (tmp_path / "run/probed.json").write_text(content)
    error = error_of(capsys, [*small("run"), "--resume"])
    assert "probed.json" in error and said in error and "remove it to probe again" in error


@pytest.mark.slow
def test_two_processes_keep_the_same_and_end_like_one(small, tmp_path) -> None:
    still = ["model.dropout=0"]
    assert main(small("one", *still)) == 0
    # Two processes need room for gradients once more.
    values = sum(value.numel() for value in weights(tmp_path / "one").values())
    budget = budget_for(tmp_path / "one", 60) + 4 * values / 2**30
    for name, extra in (("keep", "memory=keep"), ("some", f"memory_budget_gib={budget}")):
        done = succeed("train.py", *small(name, *still, f"training.{extra}"), processes=2)
        assert done.stderr.count("memory: ") == (name == "some")
    assert 55 <= probed(tmp_path / "some")["training.kept_tokens"] <= 65
    assert bits_of(tmp_path / "keep") == bits_of(tmp_path / "some")


# A step on one document in a process of its own: its largest memory, less that before the step.
PLACES = [str(ROOT / part) for part in ("", "tests", "tests/support", "tests/unit/training")]
STEP = f"""
import sys
sys.path[:0] = {PLACES!r}
from hierbert.training.memory import allow_large_pages, keep_heap_flat
allow_large_pages()
import torch
from test_memory import make_batch, make_model

torch.set_num_threads(1)
model = make_model(layers=6, tokens_per_forward=2048, summarization=False)
keep_heap_flat(model.hierbert.segment_encoder.encoder)
model.hierbert.segment_encoder.kept_tokens = None if sys.argv[2] == "keep" else 0

def peak():
    # Of this process alone: ru_maxrss begins at what its parent held.
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024

def step(segments):
    model(**make_batch([128] * segments)).loss.backward()
    assert all(w.grad is not None for w in model.hierbert.segment_encoder.encoder.parameters())
    model.zero_grad()

# What is loaded and set up by a first step is not of the document.
step(16)
before = peak()
step(int(sys.argv[1]))
print(peak() - before)
"""


def step_bytes(segments: int, memory_: str) -> int:
    """What a step on so many segments of 128 tokens takes beyond one on 16."""
    done = subprocess.run(
        [sys.executable, "-c", STEP, str(segments), memory_],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is kept flat with glibc")
def test_a_document_ten_times_as_long_trains_in_the_same_memory() -> None:
    """340,000 tokens: 2,656 segments against the 16 of one pass."""
    grown = step_bytes(2_656, "recompute")
    tokens, sentences = 2_656 * 128, 2_656 * 128 // 8
    # For each token its id and its sentence (8 bytes each) in the batch and again in the pass that
    # is to be computed anew, and there whether it is padding. For each sentence a vector of 32
    # numbers: what the passes give, all of that together, their sums, their means, and as many
    # gradients. For each segment a vector in the some 40 tensors of the aggregator's two layers.
    vectors = (16 + 17) * tokens + 8 * 32 * 4 * sentences + 40 * 32 * 4 * 2_656
    # What else is a heap's. A token's graph holds 6 layers with 2 heads' weights and dropout: more
    # than 6,000 bytes, and 2 GB for all tokens.
    assert grown < 2 * vectors < 0.1 * 6_000 * tokens
    # The same measure sees graphs that are kept, of a tenth of the tokens.
    assert step_bytes(266, "keep") > 6_000 * (266 - 16) * 128 > 2 * vectors
