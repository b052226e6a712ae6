"""The publishing command without a network: flags, what would go, what is refused."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import flags, refuse, succeed

FLAGS: dict[str, Any] = {
    "--repo": None, "--private": False, "--revision": "main", "--license": None, "--run": None,
    "--message": "Upload model with hierbert", "--dry-run": False, "--card": None,
    "--card-out": None, "--overwrite-card": False,
}  # fmt: skip


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A run's results, settings and model."""
    run = tmp_path / "run"
    shutil.copytree(trained.parent, run, ignore=shutil.ignore_patterns("checkpoints"))
    return run / "model"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_flags_and_their_defaults() -> None:
    found = flags("hierbert-push")
    assert FLAGS.keys() <= found.keys()
    assert {flag: found[flag].default for flag in FLAGS} == FLAGS
    assert {flag for flag in FLAGS if found[flag].required} == {"--repo"}


def test_a_dry_run_shows_what_would_go_and_changes_nothing(copy, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (copy / "notes.txt").write_text("mine")
    before = contents(copy)
    card = tmp_path / "card.md"
    done = succeed(
        "hierbert-push", copy, "--repo", "alice/demo", "--dry-run", "--card-out", card,
        "--license", "mit", here=True,
    )  # fmt: skip
    files = {*before, "README.md", "results.json", "config.resolved.yaml"} - {"notes.txt"}
    assert "left out, for it is no part of the model: notes.txt" in done.stdout
    for name in files:
        assert re.search(rf"(?m)^\s*{re.escape(name)} +[0-9.,]+ [kM]?B", done.stdout), name
    assert contents(copy) == before
    text = card.read_text(encoding="utf-8")
    assert text.startswith("---\n") and "\nlicense: mit\n" in text
    assert "alice/demo" in text and "trust_remote_code=True" in text
    results = json.loads((copy.parent / "results.json").read_text())
    assert f"{100 * results['scores']['accuracy']:.1f}" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    "name",
    ["demo", "a/b/c", "alice/", "/demo", "alice/de mo", "alice/-demo", "alice/..", "alice/x.git"],
)
def test_a_name_that_the_hub_does_not_allow_is_refused(trained, name) -> None:
    error = refuse("hierbert-push", trained, "--repo", name, "--dry-run", here=True)
    assert "--repo" in error and name in error


def test_what_cannot_be_pushed_is_refused_in_one_line(copy, tmp_path, monkeypatch) -> None:
    for flag in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(flag, raising=False)
    whole = ("--repo", "alice/demo", "--dry-run")
    cases: list[tuple[tuple[Any, ...], list[str]]] = [
        ((tmp_path / "nowhere", *whole), [str(tmp_path / "nowhere")]),
        ((copy.parent, *whole), [str(copy.parent), "model"]),
        ((copy, *whole, "--revision", "a..b"), ["--revision", "a..b"]),
        ((copy, *whole, "--license", "no such"), ["--license", "no such"]),
        ((copy, *whole, "--message", " "), ["--message"]),
        ((copy, *whole, "--card", tmp_path / "no.md"), ["no.md"]),
        ((copy, *whole, "--run", tmp_path), [str(tmp_path), "holds no run"]),
        ((copy, *whole, "--card-out", copy / "config.json" / "x"), ["--card-out", "written"]),
        ((copy, "--dry-run"), ["--repo"]),
        ((copy, *whole, "--prvate"), ["--prvate"]),
    ]
    for arguments, told in cases:
        error = refuse("hierbert-push", *arguments, here=True)
        assert all(word in error for word in told), (arguments, error)
    (copy / "tokenizer.json").unlink()
    assert "tokenizer.json" in refuse("hierbert-push", copy, *whole, here=True)
