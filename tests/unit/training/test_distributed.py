"""Two processes (gloo, torchrun): the same weights, scores and rows as one; mistakes end both."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from commands import ROOT, read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows, save_encoder
from safetensors.torch import load_file
from small_runs import outcome, results_of
from training import weights

from hierbert.cli.train import main

# Several runs in one start of torchrun, for a start takes longer than a run. It notes which
# documents each process trains on and answers, and which exit codes the runs had.
WORKER = f"""
import json, os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from accelerate import Accelerator
from hierbert.tasks import evaluation as answers
from hierbert.vectors import cache, store
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
    answered[name].append(indices)
    return answer_batch(model, indices, documents, *rest)

def failing_write(*arguments):
    if rank == "1" and name == "full_disk":
        raise OSError(28, "No space left on device")
    write_whole(*arguments)

def killed_step(self, plan):
    if name == "killed" and self.state.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    step(self, plan)

# Else all documents are one batch, and the second process has nothing to encode.
cache._TOKENS_PER_BATCH = 300
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


class Runs(NamedTuple):
    """Runs of the worker on two processes, and what each process noted of them."""

    folder: Path
    arguments: dict[str, list[str]]  # Of each run, without its run_dir.
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
    corpora = {"plain": plain, "empty": empty, "sparse": sparse, "single": make_rows(1, seed=4)}
    corpora |= {"validation": make_rows(3, seed=2), "test": make_rows(TEST_ROWS, seed=3)}
    files = {name: write_jsonl(folder / f"{name}.jsonl", rows) for name, rows in corpora.items()}
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
    frozen, pooled = "training.freeze_encoder=true", "model.pooling=attention"
    saving = ["training.memory=recompute", "training.tokens_per_forward=64"]
    saving += ["training.accumulation_steps=2", f"data.test={files['single']}"]

    def of(corpus: str, *columns: str) -> list[str]:
        return [*common, f"data.train={files[corpus]}", *columns]

    both, still = of("plain", labels, summaries), "model.dropout=0"
    return {
        "full": [*both, still],
        "recomputed": [*both, still, *saving],
        "frozen": [*both, still, frozen],
        "last_layer": [*both, still, "training.trained_encoder_layers=1"],
        "labels_only": [*of("empty", labels), still, pooled],
        "summaries_only": [*of("empty", summaries), still],
        "sparse": [*of("sparse", labels, summaries), still],
        "full_disk": [*both, frozen, f"training.cache_dir={folder}/other"],
        "dropout": [*both, "training.checkpoint_every_steps=1"],
    }


COMPARED = ("full", "recomputed", "frozen", "last_layer", "labels_only", "summaries_only", "sparse")


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
    folders = tmp_path / "one", two.folder / name
    assert main([*two.arguments[name], f"run_dir={tmp_path / 'one'}"]) == 0
    assert [notes["codes"][name] for notes in two.notes] == [0, 0]
    one, trained = map(weights, folders)
    assert one.keys() == trained.keys()
    assert max((one[key] - trained[key]).abs().max().item() for key in one) < 1e-5
    if name == "full":
        fresh = load_file(two.folder / "encoder" / "model.safetensors")
        prefix = "hierbert.segment_encoder.encoder."
        moved = max(
            (trained[prefix + k] - v).abs().max() for k, v in fresh.items() if prefix + k in trained
        )
        assert moved > 3e-5  # had nothing been trained, equality would say nothing
    results = [results_of(folder) for folder in folders]
    assert [result["resources"]["processes"] for result in results] == [1, 2]
    for left_out in ("seconds", "environment", "resources"):
        for result in results:
            result.pop(left_out)
    assert dict(numbers(results[0])) == pytest.approx(dict(numbers(results[1])), abs=1e-4)
    logs = [read_jsonl(folder / "metrics.jsonl") for folder in folders]
    for line, same in zip(*logs, strict=True):
        assert dict(numbers(line)) == pytest.approx(dict(numbers(same)), rel=1e-3, abs=1e-4)


def test_every_document_is_trained_on_once_an_epoch_and_every_row_answered_once(two) -> None:
    for name, tests in (("full", TEST_ROWS), ("recomputed", 1)):
        for epoch in (0, 1):
            first, second = (
                [i for at, ids in notes["trained"][name] if at == epoch for i in ids]
                for notes in two.notes
            )
            assert first and second
            assert sorted(first + second) == [f"d{number}" for number in range(9)]
        # Two epochs of validation, then the test documents.
        answered = [row for notes in two.notes for rows in notes["answered"][name] for row in rows]
        assert sorted(answered) == sorted([*range(3)] * 2 + [*range(tests)])


def test_only_the_first_process_speaks_also_of_what_fails_on_the_second(two) -> None:
    assert [notes["codes"]["full_disk"] for notes in two.notes] == [2, 2]
    lines = two.stderr.splitlines()
    (error,) = [line for line in lines if line.startswith("error: ")]
    assert "cannot be written: No space left on device" in error
    starts = [line for line in lines if line.startswith("train: 9 documents")]
    assert len(starts) == sum("plain" in "".join(a) for a in two.arguments.values()) + 1
    assert "Warning" not in two.stderr and "it/s" not in two.stderr


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
    found, expected = outcome(tmp_path / "killed"), outcome(two.folder / "dropout")
    assert (found["weights"], found["metrics"]) == (expected["weights"], expected["metrics"])
