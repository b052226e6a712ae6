"""What a run leaves in its folder, in the cache and on the screen, and what it never touches."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from commands import read_jsonl, refuse, run, succeed
from small_runs import (
    Settings,
    at_step,
    bits_of,
    content_of,
    flat,
    printed_config,
    results_of,
    small_run,
)

FILES = {
    "config.resolved.yaml",
    "probed.json",
    "documents.jsonl",
    "metrics.jsonl",
    "checkpoints",
    "answers.jsonl",
    "results.json",
    "model",
}
CHECKPOINT = {"weights.safetensors", "optimizer.safetensors", "state.json"}


@dataclass
class Run:
    """A run with both heads and baselines: how it was made, where it is, what it printed."""

    settings: Settings
    folder: Path
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def made(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("made")
    settings = small_run(folder, encoders["bert"])
    more = ["data.summary_column=summary", "baselines=true", "show_sample=true"]
    more.append("training.eval_every_steps=1")
    done = succeed("train.py", *settings(*more), here=True)
    return Run(lambda *extra: settings(*more, *extra), folder / "run", done.stdout, done.stderr)


def test_a_run_leaves_these_files(made) -> None:
    assert {path.name for path in made.folder.iterdir()} == FILES
    model = {path.name for path in (made.folder / "model").iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    } <= model
    # The rest is the code that travels with it; pickles are nowhere.
    assert any(name.endswith(".py") for name in model)
    found = {path.suffix for path in made.folder.rglob("*") if path.is_file()}
    assert found == {".yaml", ".json", ".jsonl", ".safetensors", ".py"}


def test_the_newest_checkpoints_are_kept_beside_the_best(made) -> None:
    names = {path.name for path in (made.folder / "checkpoints").iterdir()}
    # Of 6 steps, each evaluated, the newest two.
    assert {name for name in names if name.startswith("step_")} == {
        "step_00000005",
        "step_00000006",
    }
    best = f"best_step_{results_of(made.folder)['best_step']:08d}.safetensors"
    assert best in names
    for name in ("step_00000005", "step_00000006"):
        files = {path.name for path in (made.folder / "checkpoints" / name).iterdir()}
        assert files == CHECKPOINT


def test_the_resolved_config_holds_every_setting_as_it_was_used(made) -> None:
    written = flat(yaml.safe_load((made.folder / "config.resolved.yaml").read_text("utf-8")))
    assert written == printed_config(*made.settings())


def test_the_resolved_config_makes_the_same_run_elsewhere(made, tmp_path) -> None:
    config = made.folder / "config.resolved.yaml"
    succeed("train.py", "--config", config, f"run_dir={tmp_path / 'again'}", here=True)
    assert bits_of(tmp_path / "again") == bits_of(made.folder)
    for name in ("metrics.jsonl", "documents.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (made.folder / name).read_bytes()


def test_the_documents_are_listed_with_their_hashes(made) -> None:
    rows = read_jsonl(made.folder / "documents.jsonl")
    parts = {"train": 11, "validation": 4, "test": 5}
    expected = [[name, f"d{n}"] for name, count in parts.items() for n in range(count)]
    assert [row[:2] for row in rows] == expected
    assert all(re.fullmatch("[0-9a-f]{32,}", row[2]) for row in rows)
    assert len({row[2] for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ([], {"training.kept_tokens", "training.graph_bytes_per_token"}),
        (
            ["training.freeze_encoder=true", "training.tokens_per_forward=auto"],
            {"training.tokens_per_forward"},
        ),
        (["training.memory=recompute"], None),
    ],
)
def test_what_was_probed_is_kept_by_name(encoders, tmp_path, more, names) -> None:
    settings = small_run(tmp_path, encoders["bert"])
    succeed("train.py", *settings(*more, "training.epochs=1"), here=True)
    path = tmp_path / "run" / "probed.json"
    if names is None:
        assert not path.exists()
    else:
        found = yaml.safe_load(path.read_text())
        assert found.keys() == names
        assert all(type(value) is int and value >= 0 for value in found.values())


def test_a_frozen_run_keeps_its_vectors_in_the_cache_and_others_find_them(
    encoders, tmp_path, monkeypatch
) -> None:
    cache = tmp_path / "cache"
    settings = small_run(tmp_path, encoders["bert"])
    frozen = settings("training.freeze_encoder=true", f"training.cache_dir={cache}")
    succeed("train.py", *frozen, here=True)
    files = content_of(cache)
    assert any(path.suffix == ".safetensors" for path in files)
    assert FILES - {"probed.json"} <= {path.name for path in (tmp_path / "run").iterdir()}
    # Another run over the same documents encodes and writes nothing.
    other = [item for item in frozen if not item.startswith("run_dir=")]
    second = succeed("train.py", *other, f"run_dir={tmp_path / 'second'}", here=True)
    assert "0 to encode" in second.stderr
    # When an entry was last used may be noted in the time of its file.
    assert {p: data for p, (data, _) in content_of(cache).items()} == {
        p: data for p, (data, _) in files.items()
    }
    assert bits_of(tmp_path / "second") == bits_of(tmp_path / "run")
    # A damaged file is made anew, in the environment's cache as in that of the settings.
    for path, (data, _) in files.items():
        path.write_bytes(data[: len(data) // 2])
    monkeypatch.setenv("HIERBERT_CACHE", str(cache))
    third = [item for item in other if not item.startswith("training.cache_dir=")]
    succeed("train.py", *third, f"run_dir={tmp_path / 'third'}", here=True)
    assert bits_of(tmp_path / "third") == bits_of(tmp_path / "run")


def test_a_run_folder_is_never_overwritten(made) -> None:
    before = content_of(made.folder)
    for more in ([], ["training.epochs=1"], ["seed=9"]):
        error = refuse("train.py", *made.settings(*more), here=True)
        assert str(made.folder) in error and "--resume" in error
    assert content_of(made.folder) == before


def test_a_folder_of_somebody_else_is_left_as_it_is(encoders, tmp_path) -> None:
    settings = small_run(tmp_path, encoders["bert"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    # Nothing of the corpus is read before.
    (tmp_path / "train.jsonl").write_text("{")
    for run_dir in ("run", "file", "file/run"):
        error = refuse("train.py", *settings(f"run_dir={tmp_path / run_dir}"), here=True)
        assert str(tmp_path / "file" if "file" in run_dir else tmp_path / "run") in error
        assert "run_dir" in error and "train.jsonl" not in error
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]
    assert (tmp_path / "file").read_text() == "keep"
    # An empty folder is as good as none.
    (tmp_path / "empty").mkdir()
    (tmp_path / "train.jsonl").unlink()
    settings = small_run(tmp_path, encoders["bert"])
    more = [f"run_dir={tmp_path / 'empty'}", "training.epochs=1"]
    succeed("train.py", *settings(*more), here=True)


def test_while_it_runs_a_folder_holds_what_a_resumed_run_needs(encoders, tmp_path) -> None:
    settings = small_run(tmp_path, encoders["bert"])
    seen: list[set[str]] = []

    def look() -> None:
        seen.append({path.name for path in (tmp_path / "run").iterdir()})

    with at_step(5, look):
        succeed("train.py", *settings(), here=True)
    assert seen[0] >= FILES - {"model", "answers.jsonl", "results.json"}
    assert not seen[0] & {"model", "results.json"}
    # What it worked with is gone: its lock, and files that were being written.
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_the_command_that_is_printed_answers_with_the_model(made, tmp_path, monkeypatch) -> None:
    line = made.stdout.strip().splitlines()[-1]
    python, script, *arguments = shlex.split(line)
    assert (python, script) == ("python", "infer.py")
    monkeypatch.chdir(tmp_path)
    done = run(script, *arguments, here=True)
    assert done.returncode == 0, done.stderr
    ids = [row["id"] for row in read_jsonl(made.folder.parent / "test.jsonl")]
    assert [row["id"] for row in read_jsonl(tmp_path / "answers.jsonl")] == ids


def test_the_table_compares_the_model_with_the_baselines(made, encoders, tmp_path) -> None:
    systems = ("Random", "Lead", "Tail", "Lead + tail", "TextRank", "LexRank", "Centroid + MMR")
    systems += ("Position prior", "Words", "hierbert", "Oracle")
    lines = (re.split("  +", line.strip()) for line in made.stdout.splitlines())
    rows: dict[str, list[str]] = {}
    for name, *cells in lines:
        # Below, a table of picked sentences names the model and the oracle again.
        rows.setdefault(name, cells)
    found = results_of(made.folder)["summaries"]["systems"]
    assert tuple(found) == systems
    for system in systems:
        scores = found[system].values()
        if system != "hierbert":
            assert rows[system] == [f"{100 * score['mean']:.1f}" for score in scores]
    # What the model has to beat is the best of them, and so is what it gained.
    best = max(systems[:-2], key=lambda name: found[name]["rouge1"]["mean"])
    assert f"ROUGE-1 over {best}: " in made.stdout
    # One document is shown with its answer, and progress is no business of standard output.
    assert "d0" in made.stdout and "it/s" not in made.stdout
    assert "\r" not in made.stderr and "\x1b" not in made.stderr
    settings = small_run(tmp_path, encoders["bert"])
    done = succeed("train.py", *settings("training.epochs=1"), here=True)
    assert "LexRank" not in done.stdout and "Majority" not in done.stdout
    assert "d0" not in done.stdout
