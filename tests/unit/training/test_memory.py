"""Memory of training: what a probe foretells, what a budget keeps, and that no number changes."""

import json
import os
import platform
import re
import subprocess
import sys

import pytest
import torch
from accelerate import Accelerator
from commands import ROOT
from safetensors.torch import load_file
from small_runs import Settings, bits_of
from training import error_of
from transformers import BertConfig

from hierbert import HierBertConfig, HierBertForDocuments
from hierbert.cli.train import main
from hierbert.training import memory
from hierbert.training.memory import (
    GraphBytes,
    LargestSizes,
    control_group_room,
    held_bytes,
    measure_graph_bytes,
    reserved_bytes,
)


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


def make_batch(lengths: list[int]) -> dict[str, torch.Tensor]:
    """One document of random tokens, a sentence for every 8."""
    tokens, sizes = sum(lengths), torch.tensor(lengths)
    index = torch.arange(tokens) // 8
    sentences = int(index.max()) + 1
    firsts = torch.arange(sentences) * 8
    chance = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.randint(5, 100, (tokens,), generator=chance),
        "segment_lengths": sizes,
        "sentence_index": index,
        "segments_per_document": torch.tensor([len(lengths)]),
        "sentences_per_document": torch.tensor([sentences]),
        "sentence_segments": torch.searchsorted(sizes.cumsum(0), firsts, right=True),
        "sentence_tokens": torch.full((sentences,), 8),
        "labels": torch.tensor([1]),
        "sentence_labels": (torch.arange(sentences) % 3 == 0).float(),
    }


@pytest.fixture(scope="module", params=["all layers", "the last layer"])
def model(request) -> HierBertForDocuments:
    """Two layers, of which all or the last are trained, in passes of 128 tokens; both heads."""
    made = make_model(2, 128, summarization=True)
    if request.param == "the last layer":
        made.hierbert.segment_encoder.freeze(1)
    return made


def held(model: HierBertForDocuments, lengths: list[int], kept: int | None = None) -> int:
    """Bytes that the encoder's graph of a document holds, with graphs of so many tokens kept."""
    batch, encoder = make_batch(lengths), model.hierbert.segment_encoder
    inputs = [batch[name] for name in ("input_ids", "segment_lengths", "sentence_index")]
    encoder.kept_tokens = kept
    sentences = len(batch["sentence_tokens"])
    found = held_bytes(lambda: encoder(*inputs, sentences), own_tensors(model))
    encoder.kept_tokens = None
    return found


def own_tensors(model: HierBertForDocuments) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def test_no_more_graphs_are_held_than_may_be_kept(model) -> None:
    everything, nothing = (held(model, [64] * 20, kept) for kept in (None, 0))
    assert nothing < everything / 5
    # Ten passes of 128 tokens; a pass is kept whole or not at all.
    for kept, passes in ((127, 0), (128, 1), (500, 3), (1280, 10), (10**9, 10)):
        expected = nothing + passes * (everything - nothing) / 10
        assert held(model, [64] * 20, kept) == pytest.approx(expected, rel=0.01)
    # A smaller pass is kept where a larger one no longer fits.
    some, fewer = (held(model, [100, 90, 10], kept) for kept in (115, 100))
    assert some - fewer == pytest.approx(held(model, [10]), rel=0.2)


def test_the_probe_foretells_what_documents_hold(model) -> None:
    per_token = measure_graph_bytes(model, Accelerator(), 64).per_token
    for lengths in ([64] * 30, [64, 60, 50, 33, 20, 7] * 10):
        assert held(model, lengths) <= 1.01 * per_token * len(lengths) * 64
    assert held(model, [64] * 30) >= 0.9 * per_token * 30 * 64
    # What follows the encoder: the losses hold some too, and some tensors are of both parts.
    graph, batch = measure_graph_bytes(model, Accelerator(), 16), make_batch([16] * 400)
    above = held_bytes(lambda: model(**batch), own_tensors(model)) - held(model, [16] * 400)
    assert above == pytest.approx(graph.per_segment * 400 + graph.per_sentence * 800, rel=0.05)


def test_what_is_reserved_is_weights_states_and_the_larger_of_two_graphs(model) -> None:
    weights = sum(weight.numel() for weight in model.parameters() if weight.requires_grad) * 4
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


def test_a_budget_that_nothing_reads_is_refused(small, capsys) -> None:
    more = ["training.memory=keep", "training.memory_budget_gib=2"]
    assert "training.memory_budget_gib=2.0 is for" in error_of(capsys, small("run", *more))


@pytest.mark.parametrize("layers", ["null", pytest.param("1", marks=pytest.mark.slow)])
def test_a_run_keeps_what_fits_and_ends_with_the_same_bits(small, tmp_path, capsys, layers) -> None:
    def run(name: str, *overrides: str) -> str:
        """What a run says of memory, whose number it keeps."""
        capsys.readouterr()
        assert main(small(name, f"training.trained_encoder_layers={layers}", *overrides)) == 0
        assert name == "keep" or bits_of(tmp_path / "keep") == bits_of(tmp_path / name)
        return "\n".join(re.findall("^memory: .*", capsys.readouterr().err, re.MULTILINE))

    def probed(name: str) -> dict[str, int]:
        return json.loads((tmp_path / name / "probed.json").read_text())

    assert run("keep", "training.memory=keep") == ""
    assert not (tmp_path / "keep" / "probed.json").exists()
    run("recompute", "training.memory=recompute")
    (most,) = re.findall(r"those of ([\d,]+) of up to \1 tokens", run("auto"))
    tiny = run("tiny", "training.memory_budget_gib=1e-6")
    assert f"those of 0 of up to {most} tokens" in tiny and "tokens_per_forward" in tiny
    assert probed("tiny")["training.kept_tokens"] == 0
    # Of the weights that are trained, the gradients and AdamW's two means; one and a half passes.
    (checkpoint,) = tmp_path.glob("auto/checkpoints/step_*/weights.safetensors")
    trained = sum(weight.numel() for weight in load_file(checkpoint).values())
    per_token = probed("auto")["training.graph_bytes_per_token"]
    budget = (12 * trained + per_token * (1.5 * 64 + 100)) / 2**30
    run("some", f"training.memory_budget_gib={budget}")
    assert 95 <= probed("some")["training.kept_tokens"] <= 105


def test_a_resumed_run_uses_what_was_probed(small, tmp_path, monkeypatch, capsys) -> None:
    assert main(small("run")) == 0
    path, again = tmp_path / "run" / "probed.json", [*small("run"), "--resume"]
    before = path.read_text()
    kept = json.loads(before)["training.kept_tokens"]
    assert kept > 0
    # The machine is another one now.
    monkeypatch.setattr(memory, "safe_budget_bytes", lambda *_: 0)
    monkeypatch.setattr(memory, "measure_graph_bytes", None)
    capsys.readouterr()
    assert main(again) == 0
    assert f"memory: up to {kept:,} tokens a pass" in capsys.readouterr().err
    assert path.read_text() == before
    for damaged in ("{", '{"training.kept_tokens": -1}', '{"training.kept_tokens": true}'):
        path.write_text(damaged)
        error = error_of(capsys, again)
        assert "probed.json" in error and "remove it to probe again" in error


# A step on one document in a process of its own: its largest memory, less that before the step.
PLACES = [str(ROOT / part) for part in ("", "tests", "tests/support", "tests/unit/training")]
STEP = f"""
import sys
sys.path[:0] = {PLACES!r}
from hierbert.training.memory import allow_large_pages, keep_heap_flat
allow_large_pages()
import torch
from test_memory import make_batch, make_model
# Of this process alone: ru_maxrss begins at what its parent held.
from hierbert.tasks.results import peak_memory_mib

torch.set_num_threads(1)
model = make_model(layers=6, tokens_per_forward=2048, summarization=False)
keep_heap_flat(model.hierbert.segment_encoder.encoder)
model.hierbert.segment_encoder.kept_tokens = None if sys.argv[2] == "keep" else 0

def step(segments):
    model(**make_batch([128] * segments)).loss.backward()
    assert all(w.grad is not None for w in model.hierbert.segment_encoder.encoder.parameters())
    model.zero_grad()
    return peak_memory_mib()

# What is loaded and set up by a first step is not of the document.
before = step(16)
print(step(int(sys.argv[1])) - before)
"""


def step_bytes(segments: int, memory_: str) -> float:
    """What a step on so many segments of 128 tokens takes beyond one on 16."""
    done = subprocess.run(
        [sys.executable, "-c", STEP, str(segments), memory_],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return float(done.stdout) * 2**20


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
