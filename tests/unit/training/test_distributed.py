"""Two processes (gloo, torchrun): the same weights, scores and rows as one; mistakes end both."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT, read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows, save_encoder
from safetensors.torch import load_file
from training import train, weights

from hierbert.config import RunConfig
from hierbert.settings import load_config

# Several runs in one start of torchrun, for a start takes longer than a run. It notes which
# documents each process trains on and answers, and which exit codes the runs had.
WORKER = f"""
import json, os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from accelerate import Accelerator
from hierbert.tasks import evaluation as answers
from hierbert.vectors import store
from hierbert.cli.train import main
from hierbert.training.loop import TrainingLoop

rank, folder = os.environ["RANK"], sys.argv[2]
trained, answered, codes = {{}}, {{}}, {{}}
collate, step, answer_batch = TrainingLoop._collate, TrainingLoop._step, answers._answer_batch
write_whole = store.write_whole

def noting_collate(self, documents, hide_targets):
    if not hide_targets:
        trained[name].append([self.state.epoch, [document.id for document in documents]])
    return collate(self, documents, hide_targets)

def noting_answers(model, indices, documents, *rest):
    answered[name].append([len(answered[name]), documents[0].id, indices])
    return answer_batch(model, indices, documents, *rest)

def failing_write(*arguments):
    if rank == "1" and name == "full_disk":
        raise OSError(28, "No space left on device")
    write_whole(*arguments)

def killed_step(self, plan):
    if name == "killed" and self.state.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    step(self, plan)

# The end of a run takes the processes' connection down, which the next one needs.
Accelerator.end_training = lambda self: None
TrainingLoop._collate, TrainingLoop._step = noting_collate, killed_step
answers._answer_batch, store.write_whole = noting_answers, failing_write
for name, arguments in json.load(open(sys.argv[1])).items():
    trained[name], answered[name] = [], []
    codes[name] = main(arguments)
    with open(f"{{folder}}/{{rank}}.json", "w") as file:
        json.dump({{"trained": trained, "answered": answered, "codes": codes}}, file)
"""

TEST_ROWS = 5


@dataclass
class Runs:
    """The runs of the worker on two processes.

    Attributes:
        folder: Run folders are in it, by name.
        arguments: Of each run, without its run_dir.
        notes: What each process noted.
        stderr: Of both processes.
    """

    folder: Path
    arguments: dict[str, list[str]]
    notes: list[dict[str, Any]]
    stderr: str


def no_dropout(folder: Path) -> Path:
    """An encoder without dropout."""
    save_encoder(folder, "bert")
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def variants(folder: Path) -> dict[str, list[str]]:
    """Arguments of each run without its run_dir; 9 documents in batches of 4 leave one idle."""
    plain = make_rows(9, seed=1)
    # The longest goes to one process, the three empty ones of its batch to the other.
    empty = [*make_rows(5, seed=1), *({**row, "text": ""} for row in make_rows(9, seed=1)[5:8])]
    sparse = [
        {**row, "label": row["label"] if n < 2 else None, "summary": None if n else row["summary"]}
        for n, row in enumerate(plain)
    ]
    files = {
        name: write_jsonl(folder / f"{name}.jsonl", rows)
        for name, rows in {
            "plain": plain,
            "empty": empty,
            "sparse": sparse,
            "validation": make_rows(3, seed=2),
            "test": make_rows(TEST_ROWS, seed=3),
            "single": make_rows(1, seed=4),
        }.items()
    }
    common = [
        f"data.validation={files['validation']}",
        f"model.encoder={no_dropout(folder / 'encoder')}",
        "model.aggregator_layers=1",
        "segmentation.max_tokens_per_segment=32",
        "training.documents_per_batch=4",
        "training.epochs=2",
        "training.encoder_learning_rate=3e-5",
        "training.head_learning_rate=3e-5",
        "summary.max_words=8",
        f"data.test={files['test']}",
    ]
    labels, summaries = "data.label_column=label", "data.summary_column=summary"
    both = [*common, f"data.train={files['plain']}", labels, summaries]
    still = "model.dropout=0"
    return {
        "full": [*both, still],
        "recomputed": [
            *both,
            still,
            "training.memory=recompute",
            "training.tokens_per_forward=64",
            "training.accumulation_steps=2",
            f"data.test={files['single']}",
        ],
        "frozen": [*both, still, "training.freeze_encoder=true"],
        "last_layer": [*both, still, "training.trained_encoder_layers=1"],
        "labels_only": [
            *(*common, f"data.train={files['empty']}", labels, still),
            "model.pooling=attention",
        ],
        "summaries_only": [*common, f"data.train={files['empty']}", summaries, still],
        "sparse": [*common, f"data.train={files['sparse']}", labels, summaries, still],
        "full_disk": [*both, "training.freeze_encoder=true", f"training.cache_dir={folder}/other"],
        "dropout": [*both, "training.checkpoint_every_steps=1"],
    }


COMPARED = (
    "full",
    "recomputed",
    "frozen",
    "last_layer",
    "labels_only",
    "summaries_only",
    "sparse",
)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Every variant on two processes, in one start."""
    folder = tmp_path_factory.mktemp("two")
    arguments = variants(folder)
    (folder / "worker.py").write_text(WORKER)
    plan = {name: [*rest, f"run_dir={folder / name}"] for name, rest in arguments.items()}
    (folder / "plan.json").write_text(json.dumps(plan))
    done = succeed(
        folder / "worker.py",
        folder / "plan.json",
        folder,
        processes=2,
        HIERBERT_CACHE=str(folder / "cache"),
    )
    notes = [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]
    yield Runs(folder, arguments, notes, done.stderr)
    shutil.rmtree(folder)


def largest_difference(first: Path, second: Path) -> float:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from numbers(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from numbers(inner, f"{path}[{place}]")
    elif isinstance(value, int | float):
        yield path, float(value)


@pytest.mark.parametrize("name", COMPARED)
def test_two_processes_end_with_the_weights_and_scores_of_one(two, tmp_path, name) -> None:
    arguments = [*two.arguments[name], f"run_dir={tmp_path / 'one'}"]
    train(load_config(RunConfig, None, arguments))
    assert [notes["codes"][name] for notes in two.notes] == [0, 0]
    fresh = load_file(two.folder / "encoder" / "model.safetensors")
    assert largest_difference(tmp_path / "one", two.folder / name) < 1e-5
    if name == "full":
        trained = weights(two.folder / name)
        prefix = "hierbert.segment_encoder.encoder."
        moved = max(
            (trained[prefix + k] - v).abs().max() for k, v in fresh.items() if prefix + k in trained
        )
        assert moved > 3e-5  # had nothing been trained, equality would say nothing
    results = [
        json.loads((folder / "results.json").read_text())
        for folder in (tmp_path / "one", two.folder / name)
    ]
    assert [result["resources"]["processes"] for result in results] == [1, 2]
    for left_out in ("seconds", "environment", "resources"):
        for result in results:
            result.pop(left_out)
    one, other = (dict(numbers(result)) for result in results)
    assert one == pytest.approx(other, abs=1e-4)
    logs = [
        read_jsonl(folder / "metrics.jsonl") for folder in (tmp_path / "one", two.folder / name)
    ]
    for line, same in zip(*logs, strict=True):
        assert dict(numbers(line)) == pytest.approx(dict(numbers(same)), rel=1e-3, abs=1e-4)


def test_every_document_is_trained_on_once_an_epoch(two) -> None:
    for name in ("full", "recomputed", "summaries_only"):
        file = next(a for a in two.arguments[name] if a.startswith("data.train="))
        rows = read_jsonl(Path(file.partition("=")[2]))
        for epoch in (0, 1):
            seen = [
                [i for at, ids in notes["trained"][name] if at == epoch for i in ids]
                for notes in two.notes
            ]
            assert all(seen)
            assert sorted(seen[0] + seen[1]) == sorted(str(row["id"]) for row in rows)


def test_every_row_is_answered_once(two) -> None:
    # Two epochs of validation, then the test documents.
    for name, tests in (("full", TEST_ROWS), ("recomputed", 1)):
        answered = [
            index
            for notes in two.notes
            for _, _, indices in notes["answered"][name]
            for index in indices
        ]
        expected = [*range(3)] * 2 + [*range(tests)]
        assert sorted(answered) == sorted(expected)


def test_what_fails_on_the_second_process_is_said_by_the_first(two) -> None:
    assert [notes["codes"]["full_disk"] for notes in two.notes] == [2, 2]
    errors = [line for line in two.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "cannot be written: No space left on device" in errors[0]


def test_only_the_first_process_speaks(two) -> None:
    lines = [line for line in two.stderr.splitlines() if line.startswith("train: 9 documents")]
    assert len(lines) == sum("plain" in "".join(a) for a in two.arguments.values()) + 1
    assert "Warning" not in two.stderr and "it/s" not in two.stderr


@pytest.mark.slow
def test_a_mistake_on_two_processes_is_one_line_and_the_end(two, tmp_path) -> None:
    bad = write_jsonl(tmp_path / "bad.jsonl", [{**make_rows(1)[0], "label": "unknown"}])
    done = run(
        "train.py",
        *two.arguments["full"],
        f"data.validation={bad}",
        f"run_dir={tmp_path / 'run'}",
        processes=2,
    )
    assert done.returncode not in (0, None)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "'unknown'" in errors[0] and "bad.jsonl" in errors[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_killed_on_two_processes_resumes_to_the_same_bits(two, tmp_path) -> None:
    arguments = [*two.arguments["dropout"], f"run_dir={tmp_path / 'killed'}"]
    (tmp_path / "plan.json").write_text(json.dumps({"killed": arguments}))
    done = run(two.folder / "worker.py", tmp_path / "plan.json", tmp_path, processes=2)
    assert done.returncode != 0
    assert (tmp_path / "killed" / "checkpoints" / "step_00000005").is_dir()
    assert not (tmp_path / "killed" / "model").exists()
    resolved = tmp_path / "killed" / "config.resolved.yaml"
    alone = refuse("train.py", "--config", resolved, "--resume")
    assert "2 process(es), this one has 1" in alone
    succeed("train.py", "--config", resolved, "--resume", processes=2)
    assert largest_difference(two.folder / "dropout", tmp_path / "killed") == 0.0
    whole, killed = (f / "metrics.jsonl" for f in (two.folder / "dropout", tmp_path / "killed"))
    assert whole.read_text() == killed.read_text()
