"""Two processes (gloo, torchrun): the weights and scores of one; what ends one ends both."""

import json
import os
import socket
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import ROOT, read_jsonl, run, write_jsonl
from conftest import make_rows, save_encoder
from small_runs import outcome, results_of, small_run
from training import error_of, weights

from hierbert.cli.train import main
from hierbert.files import FolderLock
from hierbert.prediction import processes
from hierbert.training.checkpoints import find_checkpoints

# Several runs in one start of torchrun, for a start takes longer than a run. Each process notes its
# runs' exit codes and the state it ends with. Some names of runs let something happen in them, and
# SIGNAL says which signal comes where and to whom: to a rank, or to torchrun, which passes it on.
WORKER = f"""
import gc, hashlib, json, os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from accelerate import Accelerator
from torch.nn.parallel import DistributedDataParallel
from hierbert.cli.train import main
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.tasks import evaluation
from hierbert.training.loop import TrainingLoop
from hierbert.vectors import cache, store

rank, plan = os.environ["RANK"], json.load(open(sys.argv[1]))
number, place, whom = os.environ.get("SIGNAL", "SIGTERM,never,torchrun").split(",")
arrived, wakeup = os.pipe()
os.set_blocking(wakeup, False)
signal.set_wakeup_fd(wakeup)
codes, ends, wrappers, answered, poisoned = {{}}, {{}}, {{}}, [], [False]
step, answer, collate = TrainingLoop._step, evaluation._answer_batch, TrainingLoop._collate
load_best, end_training = TrainingLoop._load_best, Accelerator.end_training
forward, write_whole = HierBertForDocuments.forward, store.write_whole

def signalled(now):
    if place != now:
        return
    if whom == rank:
        signal.raise_signal(getattr(signal, number))
    elif whom == "torchrun":
        if rank == "0":
            os.kill(os.getppid(), getattr(signal, number))
        # However long it takes to come, it comes here.
        os.read(arrived, 1)

def signalled_step(self, plan):
    signalled(f"step {{self.state.step}}")
    step(self, plan)

def signalled_answer(*given):
    answered.append(0)
    signalled(f"answer {{len(answered)}}")
    return answer(*given)

def noting(self, documents, hide_targets):
    found = any(document.id == "d3" for document in documents)
    poisoned[0] = name == "poisoned" and found and not hide_targets
    return collate(self, documents, hide_targets)

def infinite(self, **inputs):
    output = forward(self, **inputs)
    if self.training and poisoned[0]:
        output.loss = output.loss * float("inf")
    return output

def failing_write(*arguments):
    if rank == "1" and name == "full_disk":
        raise OSError(28, "No space left on device")
    write_whole(*arguments)

def ended(self):
    digest = hashlib.sha256()
    for weight in self.model.parameters():
        digest.update(weight.detach().numpy().tobytes())
    ends[name] = [digest.hexdigest(), self.state.nonfinite_steps, self.state.updates]
    load_best(self)

def at_the_end(self):
    wrappers[name] = sum(type(one) is DistributedDataParallel for one in gc.get_objects())
    # It takes the processes' connection down, which the next run needs.
    if name == list(plan)[-1]:
        end_training(self)

# Else all documents are one batch, and the second process has nothing to do.
cache._TOKENS_PER_BATCH, evaluation.TOKENS_PER_BATCH = 300, 1
TrainingLoop._step, evaluation._answer_batch = signalled_step, signalled_answer
TrainingLoop._collate, HierBertForDocuments.forward = noting, infinite
TrainingLoop._load_best, Accelerator.end_training = ended, at_the_end
store.write_whole = failing_write
for name, arguments in plan.items():
    codes[name] = main(arguments)
notes = {{"codes": codes, "ends": ends, "wrappers": wrappers}}
json.dump(notes, open(sys.argv[1] + rank, "w"))
raise SystemExit(codes[name])
"""


def start(
    folder: Path, plan: dict[str, list[str]], signal: str = "SIGTERM,never,torchrun"
) -> subprocess.CompletedProcess[str]:
    """Do runs on two processes, of these names and arguments."""
    (folder / "worker.py").write_text(WORKER)
    (folder / "plan.json").write_text(json.dumps(plan))
    more = {"SIGNAL": signal, "HIERBERT_CACHE": str(folder / "cache")}
    return run(folder / "worker.py", folder / "plan.json", processes=2, **more)


def variants(folder: Path) -> dict[str, list[str]]:
    """Arguments of runs, without dropout where their weights are compared with one process's."""
    encoder = save_encoder(folder / "encoder")
    config = json.loads((encoder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (encoder / "config.json").write_text(json.dumps(config))
    # 9 documents in batches of 4 leave one process idle at the end of an epoch.
    plain = make_rows(9, seed=1)
    # The longest goes to one process, the three empty ones of its batch to the other.
    empty = [*plain[:5], *({**row, "text": ""} for row in plain[5:8])]
    sparse = [
        {**row, "label": row["label"] if n < 2 else None, "summary": None if n else row["summary"]}
        for n, row in enumerate(plain)
    ]
    settings = small_run(folder, encoder)
    small_rates = [f"training.{part}_learning_rate=3e-5" for part in ("encoder", "head")]

    def of(rows: list[dict[str, object]], *columns: str) -> list[str]:
        path = write_jsonl(folder / f"{len(list(folder.iterdir()))}.jsonl", rows)
        still = ["model.dropout=0", "data.label_column=", "summary.max_words=8", *small_rates]
        return settings(*still, f"data.train={path}", *columns)

    labels, summaries = "data.label_column=label", "data.summary_column=summary"
    both, frozen = of(plain, labels, summaries), "training.freeze_encoder=true"
    one_document = write_jsonl(folder / "one.jsonl", make_rows(1, seed=4))
    return {
        "full": both,
        "recomputed": of(
            plain,
            labels,
            summaries,
            "training.memory=recompute",
            "training.tokens_per_forward=64",
            "training.accumulation_steps=2",
            f"data.test={one_document}",
        ),
        "frozen": [*both, frozen],
        "last_layer": [*both, "training.trained_encoder_layers=1"],
        "labels_only": of(empty, labels, "model.pooling=attention"),
        "summaries_only": of(empty, summaries),
        "sparse": of(sparse, labels, summaries),
        "locked": both,
        "full_disk": [*both, frozen, f"training.cache_dir={folder}/other"],
        "poisoned": [*both, "training.on_nonfinite_loss=skip"],
        "dropout": settings("training.accumulation_steps=2"),
    }


COMPARED = ("full", "recomputed", "frozen", "last_layer", "labels_only", "summaries_only", "sparse")


class Runs(NamedTuple):
    """Runs on two processes: where they are, their arguments, what each process noted and said."""

    folder: Path
    arguments: dict[str, list[str]]
    notes: list[dict[str, dict[str, object]]]
    stderr: str


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Every variant on two processes, in one start."""
    folder = tmp_path_factory.mktemp("two")
    arguments = variants(folder)
    plan = {name: [*rest, f"run_dir={folder / name}"] for name, rest in arguments.items()}
    with FolderLock(folder / "locked", "a run"):
        done = start(folder, plan)
    assert done.returncode == 0, done.stderr[-3000:]
    notes = [json.loads((folder / f"plan.json{rank}").read_text()) for rank in (0, 1)]
    return Runs(folder, arguments, notes, done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPARED)
def test_two_processes_end_with_the_weights_and_scores_of_one(two, tmp_path, name) -> None:
    compare(two.arguments[name], tmp_path, two.folder / name)
    if name == "full":
        # Had nothing been trained, equality would say nothing.
        trained, still = map(weights, (two.folder / name, two.folder / "frozen"))
        encoder = [key for key in still if "segment_encoder" in key]
        assert max((trained[key] - still[key]).abs().max().item() for key in encoder) > 3e-5


@pytest.mark.slow
def test_a_run_on_two_processes_ends_as_on_one(tmp_path) -> None:
    arguments = variants(tmp_path)["full"]
    done = start(tmp_path, {"two": [*arguments, f"run_dir={tmp_path / 'two'}"]})
    assert done.returncode == 0, done.stderr[-3000:]
    compare(arguments, tmp_path, tmp_path / "two")


def compare(arguments: list[str], folder: Path, of_two: Path) -> None:
    """Do a run of two processes on one, in a folder, and see that it ends alike."""
    assert main([*arguments, f"run_dir={folder / 'one'}"]) == 0
    folders = folder / "one", of_two
    one, trained = map(weights, folders)
    assert one.keys() == trained.keys()
    assert max((one[key] - trained[key]).abs().max().item() for key in one) < 1e-5
    first, second = map(results_of, folders)
    assert [results["resources"]["processes"] for results in (first, second)] == [1, 2]
    for scores in ("scores", "validation"):
        assert second[scores] == pytest.approx(first[scores], abs=1e-4)
    lines = (read_jsonl(folder / "metrics.jsonl") for folder in folders)
    for line, same in zip(*lines, strict=True):
        assert line == pytest.approx(same, rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_a_step_left_out_is_left_out_on_both_processes(two) -> None:
    ends = [notes["ends"]["poisoned"] for notes in two.notes]
    # Six steps, of which the one with the document is left out in each of two epochs.
    assert ends[0] == ends[1] and ends[0][1:] == [2, 4]
    # Whichever process had it, the first one names it, once an epoch.
    assert two.stderr.count("documents that do it alone: 'd3'") == 2


@pytest.mark.slow
def test_what_fails_on_one_process_ends_both_and_the_first_one_says_so(two) -> None:
    codes = {name: 2 if name in ("locked", "full_disk") else 0 for name in two.arguments}
    assert [notes["codes"] for notes in two.notes] == [codes, codes]
    locked, full = [line for line in two.stderr.splitlines() if line.startswith("error: ")]
    assert f"in use by process {os.getpid()}" in locked
    assert "cannot be written: No space left on device" in full
    assert two.stderr.count("run folder: ") == len(codes) - 2
    assert "Warning" not in two.stderr and "it/s" not in two.stderr


@pytest.mark.slow
def test_no_wrapper_outlives_the_connection_of_the_processes(two) -> None:
    # One that does hangs now and then at the end of its process.
    for notes in two.notes:
        assert set(notes["wrappers"].values()) == {0}


@pytest.mark.slow
def test_signals_end_both_processes_and_a_resumed_run_ends_in_the_same_bits(
    two, tmp_path, capsys
) -> None:
    arguments = [*two.arguments["dropout"], f"run_dir={tmp_path / 'run'}"]
    for signal, checkpoint in (
        ("SIGTERM,step 1,torchrun", "step_00000002"),
        ("SIGINT,answer 2,torchrun", "step_00000003"),
        ("SIGTERM,step 4,1", "step_00000005"),
    ):
        done = start(tmp_path, {"run": [*arguments, "--resume"]}, signal)
        assert done.returncode != 0 and "stopped after step" in done.stderr, done.stderr
        assert find_checkpoints(tmp_path / "run" / "checkpoints")[-1].name == checkpoint
    assert "2 process(es), this one has 1" in error_of(capsys, [*arguments, "--resume"])
    assert start(tmp_path, {"run": [*arguments, "--resume"]}).returncode == 0
    assert outcome(tmp_path / "run") == outcome(two.folder / "dropout")


def test_a_process_that_never_comes_is_one_line(encoders, tmp_path, monkeypatch, capsys) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "_RENDEZVOUS", timedelta(seconds=0.3))
    error = error_of(capsys, small_run(tmp_path, encoders["bert"])())
    assert "WORLD_SIZE is 2" in error and "torchrun" in error
    assert not (tmp_path / "run").exists()
