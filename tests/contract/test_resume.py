"""A run that was stopped goes on to the same bits, in what is its own and has not changed."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOT, read_jsonl, refuse, run, succeed, write_jsonl
from safetensors.torch import load_file
from small_runs import (
    Settings,
    at_step,
    content_of,
    outcome,
    results_of,
    signal_at_step,
    small_run,
)

VARIANTS = {
    "plain": [],
    "often": [
        "training.accumulation_steps=2",
        "training.eval_every_steps=2",
        "training.checkpoint_every_steps=1",
        "training.keep_checkpoints=1",
        "training.memory=recompute",
    ],
    "frozen": ["training.freeze_encoder=true", "data.summary_column=summary"],
}
KILLED = f"""
import os, runpy, signal, sys
sys.path[:0] = {[str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]!r}
from small_runs import signal_at_step
with signal_at_step(int(sys.argv.pop(1)), signal.SIGKILL):
    runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
"""


@pytest.fixture
def settings(encoders: dict[str, Path], tmp_path: Path) -> Settings:
    """Arguments of a run of 6 steps in 2 epochs."""
    return small_run(tmp_path, encoders["bert"])


@pytest.fixture(scope="module")
def whole(
    encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Settings, Path, dict[str, Any]]:
    """A run that is whole, for those who change nothing in it: its arguments, folder, outcome."""
    folder = tmp_path_factory.mktemp("whole")
    settings = small_run(folder, encoders["bert"])
    succeed("train.py", *settings(), here=True)
    return settings, folder / "run", outcome(folder / "run")


def resumed(run_dir: Path) -> list[str]:
    return ["--config", str(run_dir / "config.resolved.yaml"), "--resume"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_signals_stop_after_a_checkpoint_and_a_resumed_run_ends_in_the_same_bits(
    settings, tmp_path, variant
) -> None:
    extra = VARIANTS[variant]
    succeed("train.py", *settings(*extra, f"run_dir={tmp_path / 'other'}"), here=True)
    with signal_at_step(2, signal.SIGTERM):
        done = run("train.py", *settings(*extra), here=True)
    assert done.returncode == 143 and "Traceback" not in done.stderr, done.stderr
    # It says how to go on, in words that can be copied.
    assert " ".join(resumed(tmp_path / "run")) in done.stderr
    assert not (tmp_path / "run" / "model").exists()
    # The cache may be removed at any time.
    shutil.rmtree(os.environ["HIERBERT_CACHE"], ignore_errors=True)
    with signal_at_step(3, signal.SIGINT):
        done = run("train.py", *resumed(tmp_path / "run"), here=True)
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr
    succeed("train.py", *resumed(tmp_path / "run"), here=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "other")


def test_a_killed_run_goes_on_from_its_newest_checkpoint_to_the_same_bits(
    whole, encoders, tmp_path
) -> None:
    _, _, expected = whole
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    settings = small_run(tmp_path, encoders["bert"])
    assert run(script, "5", *settings()).returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "results.json").exists()
    succeed("train.py", *settings("--resume"), here=True)
    assert outcome(tmp_path / "run") == expected


@pytest.mark.slow
def test_a_fit_after_the_last_step_is_done_anew_and_alike_on_several_processes(
    encoders, tmp_path
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    folders = {name: tmp_path / name for name in ("whole", "killed", "two")}
    frozen = [*VARIANTS["frozen"], "data.label_column=null"]
    made = {}
    for name, folder in folders.items():
        folder.mkdir()
        made[name] = small_run(folder, encoders["bert"])(*frozen)
    succeed("train.py", *made["whole"], here=True)
    # Steps after the sixth are those of the networks that score sentences.
    assert run(script, "40", *made["killed"]).returncode == -signal.SIGKILL
    assert not (folders["killed"] / "run" / "results.json").exists()
    succeed("train.py", *made["killed"], "--resume", here=True)
    assert outcome(folders["killed"] / "run") == outcome(folders["whole"] / "run")
    done = run("train.py", *made["two"], processes=2)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (results_of(folders[name] / "run") for name in ("whole", "two"))
    assert one["sentence_members"]["weights"] == two["sentence_members"]["weights"]
    assert two["scores"]["rouge1"] == pytest.approx(one["scores"]["rouge1"], abs=1e-3)
    # Dropout differs between processes, and the layers by it; what was fitted does not.
    weights = [load_file(folders[n] / "run/model/model.safetensors") for n in ("whole", "two")]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        if "stack" in name or name.startswith("features"):
            assert torch.allclose(tensor, weights[1][name], atol=1e-3), name


def test_a_whole_run_is_resumed_to_itself(whole) -> None:
    settings, folder, expected = whole
    succeed("train.py", *settings("--resume"), here=True)
    assert outcome(folder) == expected


def test_where_no_run_is_resume_starts_one(whole, encoders, tmp_path) -> None:
    settings = small_run(tmp_path, encoders["bert"])
    succeed("train.py", *settings("--resume"), here=True)
    assert outcome(tmp_path / "run") == whole[2]


def test_what_no_number_of_a_run_depends_on_may_change(whole, settings, encoders, tmp_path) -> None:
    with signal_at_step(4, signal.SIGINT):
        assert run("train.py", *settings(), here=True).returncode == 130
    # The run, its documents and its encoder may be moved.
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "train.jsonl").rename(tmp_path / "documents.jsonl")
    shutil.copytree(encoders["bert"], tmp_path / "encoder")
    more = [
        f"data.train={tmp_path / 'documents.jsonl'}",
        f"model.encoder={tmp_path / 'encoder'}",
        f"training.cache_dir={tmp_path / 'cache'}",
        "training.cache_limit_gib=1",
        "training.memory_budget_gib=0.5",
        "training.checkpoint_every_steps=1",
        "training.keep_checkpoints=1",
        "training.on_nonfinite_loss=skip",
        "show_sample=true",
    ]
    succeed("train.py", *resumed(tmp_path / "moved"), *more, here=True)
    assert not (tmp_path / "run").exists()
    assert outcome(tmp_path / "moved") == whole[2]


@pytest.mark.parametrize("damage", ["weights.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_passed_over(whole, settings, tmp_path, damage) -> None:
    with signal_at_step(5, signal.SIGINT):
        assert run("train.py", *settings(), here=True).returncode == 130
    newest = max((tmp_path / "run" / "checkpoints").glob("step_*/"))
    content = bytearray((newest / damage).read_bytes())
    content[len(content) // 2] ^= 1
    (newest / damage).write_bytes(content)
    done = succeed("train.py", *settings("--resume"), here=True)
    assert newest.name in done.stderr
    assert outcome(tmp_path / "run") == whole[2]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("training.epochs=5", ["training.epochs", "2", "5"]),
        ("model.aggregator_layers=2", ["model.aggregator_layers", "1", "2"]),
        ("data.summary_column=summary", ["data.summary_column", "null|None", "summary"]),
        ("seed=7", ["seed", "0", "7"]),
    ],
)
def test_other_settings_are_refused_with_the_difference(whole, change, parts) -> None:
    settings, folder, _ = whole
    before = content_of(folder)
    error = refuse("train.py", *settings(change, "--resume"), here=True)
    for part in parts:
        assert any(word in error for word in part.split("|")), error
    assert content_of(folder) == before


def changed_text(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**rows[0], "text": "Another text."}, *rows[1:]]


def changed_label(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**rows[0], "label": rows[1]["label"]}, *rows[1:]]


@pytest.mark.parametrize(
    ("name", "change", "parts"),
    [
        ("train", lambda rows: rows[1:], ["1", "d0"]),
        ("train", lambda rows: [*rows, {**rows[0], "id": "new"}], ["1", "new"]),
        ("train", changed_text, ["1", "d0"]),
        ("train", changed_label, ["1", "d0"]),
        ("train", lambda rows: rows[::-1], ["order"]),
        ("validation", lambda rows: rows[:-1], ["1", "d3"]),
        ("test", changed_text, ["1", "d0"]),
    ],
)
def test_other_documents_are_refused_by_id(whole, name, change, parts) -> None:
    settings, folder, _ = whole
    corpus = folder.parent / f"{name}.jsonl"
    rows, before = read_jsonl(corpus), content_of(folder)
    write_jsonl(corpus, change(rows))
    try:
        error = refuse("train.py", *settings("--resume"), here=True)
    finally:
        write_jsonl(corpus, rows)
    assert all(part in error for part in [f"data.{name}", *parts]), error
    assert content_of(folder) == before


def test_a_folder_that_holds_no_run_is_not_resumed(settings, tmp_path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    assert str(tmp_path / "run") in refuse("train.py", *settings("--resume"), here=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_a_damaged_config_of_a_run_is_refused_by_name(whole, tmp_path) -> None:
    shutil.copytree(whole[1], tmp_path / "run")
    path = tmp_path / "run" / "config.resolved.yaml"
    text = path.read_text()
    for part in (0.0, 0.1, 0.5, 0.999):
        path.write_text(text[: int(part * len(text))])
        for given in (resumed(path.parent), whole[0](f"run_dir={path.parent}", "--resume")):
            error = refuse("train.py", *given, here=True)
            assert f"{path} is damaged: " in error and "start anew with another run_dir" in error


def test_a_second_run_in_a_folder_is_refused_while_the_first_lives(
    whole, settings, tmp_path
) -> None:
    refusals: list[str] = []

    def second() -> None:
        refusals.append(refuse("train.py", *settings("--resume")))

    with at_step(3, second):
        succeed("train.py", *settings(), here=True)
    assert len(refusals) == 1
    assert str(os.getpid()) in refusals[0] and str(tmp_path / "run") in refusals[0]
    assert outcome(tmp_path / "run") == whole[2]
