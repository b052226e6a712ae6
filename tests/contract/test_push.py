"""The publishing command, against a Hub on this machine and the genuine clients."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import flags, refuse, succeed
from local_hub import LocalHub
from publishing import FIRST_FORMAT, TOKEN, USERS, Worker

from hierbert import HierBertPredictor

FLAGS: dict[str, Any] = {
    "--repo": None, "--private": False, "--revision": "main", "--license": None, "--run": None,
    "--message": "Upload model with hierbert", "--dry-run": False, "--card": None,
    "--card-out": None, "--overwrite-card": False,
}  # fmt: skip
STRANGER = """
from transformers import pipeline
pipe = pipeline("document-classification", model=name, trust_remote_code=True)
result = [pipe(texts), sorted({m.split(".")[0] for m in __import__("sys").modules})]
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with LocalHub(USERS, lfs_from_bytes=30_000) as server:
        yield server


@pytest.fixture(scope="module")
def author(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A process with hierbert, in which HF_TOKEN is set for pushing only."""
    home = tmp_path_factory.mktemp("author")
    with Worker(home, hub, hierbert=True, HF_HUB_DISABLE_XET="1") as worker:
        yield worker


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


@pytest.mark.slow
def test_a_push_is_one_commit_and_the_same_again_is_none(hub, author, copy, tmp_path) -> None:
    missing = author.push(copy, "--repo", "alice/page", token=None)
    assert missing.result == 2 and "error: " in missing.stderr
    for repo, token in (("alice/page", "hf_wrongSecretToken"), ("bob/page", TOKEN)):
        error = author.push(copy, "--repo", repo, token=token).error
        assert token not in error and repo not in hub.repositories
    (copy / "notes.txt").write_text("mine")
    done = author.push(copy, "--repo", "alice/page", "--message", "First", "--private")
    assert done.result == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr and "alice/page" in done.stdout + done.stderr
    files = hub.files("alice/page")
    own = contents(copy)
    del own["notes.txt"]
    assert {name: files[name] for name in own} == own
    assert files.keys() - own.keys() == {
        *("README.md", "results.json", "config.resolved.yaml", ".gitattributes")
    }
    assert hub.repositories["alice/page"].private
    assert hub.commits("alice/page")[-1].title == "First"
    assert json.loads(files["results.json"]) == json.loads(
        (copy.parent / "results.json").read_text()
    )
    assert not [name for name, data in files.items() if TOKEN.encode() in data]
    assert not [name for name, data in files.items() if str(tmp_path).encode() in data]
    written = [path for place in (tmp_path, author.home) for path in place.rglob("*")]
    assert not [p for p in written if p.is_file() and TOKEN.encode() in p.read_bytes()]
    before, stored = [*hub.commits("alice/page")], hub.stored
    assert author.push(copy, "--repo", "alice/page").result == 0
    assert len(hub.commits("alice/page")) == len(before) and hub.stored == stored > 0
    # What the author writes on the page stays.
    edited = files["README.md"] + b"\nReviews of films.\n"
    hub.add("alice/page", {"README.md": edited})
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "summary_limit": 5.0}))
    assert author.push(copy, "--repo", "alice/page").result == 0
    assert b"Reviews of films." in hub.files("alice/page")["README.md"]
    assert json.loads(hub.files("alice/page")["config.json"])["summary_limit"] == 5.0
    # Only what has changed is another file now.
    first, last = (commit.files for commit in (before[-1], hub.commits("alice/page")[-1]))
    assert {name for name in last if last[name] != first[name]} == {"config.json", "README.md"}
    # Words are given up on demand only.
    assert author.push(copy, "--repo", "alice/page", "--overwrite-card").result == 0
    assert b"Reviews of films." not in hub.files("alice/page")["README.md"]
    # Another branch is another page.
    assert author.push(copy, "--repo", "alice/page", "--revision", "next").result == 0
    assert hub.repositories["alice/page"].branches.keys() == {"main", "next"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trained", "first_format"])
def test_a_stranger_loads_what_was_pushed(hub, author, trained, tmp_path, name) -> None:
    """Of a folder that 0.1.0 saved too, whose code is added on the way."""
    folder = {"trained": trained, "first_format": FIRST_FORMAT}[name]
    before, repo = contents(folder), f"alice/{name}"
    done = author.push(folder, "--repo", repo)
    assert done.result == 0, done.stderr
    assert contents(folder) == before
    texts = ["The film was good. The actor!", "A court. The contract of a party."]
    expected = HierBertPredictor.from_pretrained(folder, device="cpu").classify(texts)
    with Worker(tmp_path, hub, hierbert=False) as stranger:
        labels, modules = stranger.run(STRANGER, name=repo, texts=texts).result
    assert "hierbert" not in modules
    own = """
import hierbert
predictor = hierbert.HierBertPredictor.from_pretrained(repo, device="cpu")
result = [vars(answer)["probabilities"] for answer in predictor.classify(texts)]
"""
    mine = author.run(own, repo=repo, texts=texts).result
    for label, shares, answer in zip(labels, mine, expected, strict=True):
        assert label["probabilities"] == pytest.approx(answer.probabilities, abs=1e-5)
        assert shares == pytest.approx(answer.probabilities, abs=1e-5)
