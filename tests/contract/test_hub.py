"""Pushing and loading with the genuine clients, over HTTP, against a Hub on this machine."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import ROOT, run, succeed, write_jsonl
from conftest import make_rows
from local_hub import LocalHub
from publishing import FIRST_FORMAT, TOKEN, USERS, Worker
from small_models import save_model

from hierbert import HierBertForDocuments, HierBertPredictor

pytestmark = pytest.mark.slow

TEXTS = [str(row["text"]) for row in make_rows(3, seed=5, sentences=30)] + ["", "The 😀 plot. 好。"]
CLASSIFY = """
from transformers import pipeline
pipe = pipeline("document-classification", model=name, trust_remote_code=True)
result = pipe(texts)
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with LocalHub(dict(USERS), lfs_from_bytes=30_000) as server:
        yield server


@pytest.fixture(scope="module")
def author(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A process with hierbert, in which HF_TOKEN is set for pushing only."""
    home = tmp_path_factory.mktemp("author")
    with Worker(home, hub, hierbert=True, HF_HUB_DISABLE_XET="1") as worker:
        yield worker


@pytest.fixture(scope="module")
def stranger(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A process without hierbert and without a token."""
    with Worker(tmp_path_factory.mktemp("stranger"), hub, hierbert=False) as worker:
        yield worker


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with both heads, as `save_pretrained` leaves it."""
    limit = {"summary_budget": "max_sentences", "summary_limit": 3.0}
    return save_model(tmp_path_factory.mktemp("saved") / "model", encoders["bert"], **limit)


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


def save_in_shards(folder: Path) -> set[str]:
    """Put the weights of a model into several files, whose names are returned."""
    loaded = HierBertForDocuments.from_pretrained(folder, dtype=torch.float32)
    (folder / "model.safetensors").unlink()
    loaded.save_pretrained(folder, max_shard_size="60KB")
    shards = {path.name for path in folder.glob("model-*.safetensors")}
    assert len(shards) > 2
    return shards


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# What a push sends, takes away and leaves.


def test_a_push_is_one_commit_and_the_same_again_is_none(hub, author, trained, tmp_path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained.parent, run, ignore=shutil.ignore_patterns("checkpoints"))
    copy = run / "model"
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
    assert own.items() <= files.items()
    added = {"README.md", "results.json", "config.resolved.yaml", ".gitattributes"}
    assert files.keys() - own.keys() == added
    assert hub.repositories["alice/page"].private
    assert hub.commits("alice/page")[-1].title == "First"
    assert files["results.json"] == (run / "results.json").read_bytes()
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


def test_weights_of_another_sharding_do_not_stay_behind(hub, author, copy) -> None:
    whole = (copy / "model.safetensors").read_bytes()
    assert author.push(copy, "--repo", "alice/shards").result == 0
    shards = save_in_shards(copy)
    done = author.push(copy, "--repo", "alice/shards")
    assert "deleted there, for it would be read beside the new model: model.saf" in done.stderr
    files = set(hub.files("alice/shards"))
    assert shards | {"model.safetensors.index.json"} < files and "model.safetensors" not in files
    # And back to one file.
    for path in copy.glob("model*.safetensors*"):
        path.unlink()
    (copy / "model.safetensors").write_bytes(whole)
    assert author.push(copy, "--repo", "alice/shards").result == 0
    files = set(hub.files("alice/shards"))
    assert "model.safetensors" in files and not files & {*shards, "model.safetensors.index.json"}


def test_a_card_of_the_authors_own_is_pushed_as_it_is(hub, author, copy, tmp_path) -> None:
    hub.add("alice/own", {"README.md": b"\xff"})
    assert "is not UTF-8" in author.push(copy, "--repo", "alice/own").stderr
    assert hub.files("alice/own")["README.md"] == b"\xff"
    card = tmp_path / "card.md"
    card.write_text("---\nlicense: mit\n---\n# By hand\n")
    assert author.push(copy, "--repo", "alice/own", "--card", card).result == 0
    assert hub.files("alice/own")["README.md"] == card.read_bytes()


def test_a_public_page_is_not_made_private(hub, author, copy) -> None:
    hub.add("alice/public", {"README.md": b"x"})
    error = author.push(copy, "--repo", "alice/public", "--private").error
    assert "alice/public is public" in error and set(hub.files("alice/public")) == {"README.md"}


def test_nobody_elses_commit_is_overwritten(hub, author, copy) -> None:
    # Someone commits while the weights are on their way.
    hub.before_store = lambda _: hub.add("alice/shared", {"theirs.txt": b"x"}) and None
    try:
        done = author.push(copy, "--repo", "alice/shared")
    finally:
        hub.before_store = None
    assert "changed by someone else in the meantime; push again" in done.error
    assert "model.safetensors" not in hub.files("alice/shared")
    assert author.push(copy, "--repo", "alice/shared").result == 0
    assert {"model.safetensors", "theirs.txt"} < set(hub.files("alice/shared"))


# What strangers load.


@pytest.mark.parametrize("name", ["trained", "first_format"])
def test_a_stranger_loads_what_was_pushed(author, stranger, trained, name) -> None:
    """Of a folder that 0.1.0 saved too, whose code is added on the way."""
    folder = {"trained": trained, "first_format": FIRST_FORMAT}[name]
    before, repo = contents(folder), f"alice/{name}"
    done = author.push(folder, "--repo", repo)
    assert done.result == 0, done.stderr
    assert contents(folder) == before
    texts = ["The film was good. The actor!", "A court. The contract of a party."]
    expected = HierBertPredictor.from_pretrained(folder, device="cpu").classify(texts)
    labels = stranger.run(CLASSIFY, name=repo, texts=texts).result
    own = """
import hierbert
predictor = hierbert.HierBertPredictor.from_pretrained(repo, device="cpu")
result = [vars(answer)["probabilities"] for answer in predictor.classify(texts)]
"""
    mine = author.run(own, repo=repo, texts=texts).result
    for label, shares, answer in zip(labels, mine, expected, strict=True):
        assert label["probabilities"] == pytest.approx(answer.probabilities, abs=1e-5)
        assert shares == pytest.approx(answer.probabilities, abs=1e-5)


def test_what_every_class_pushes_loads_without_hierbert(hub, author, stranger, copy) -> None:
    code = """
import hierbert
source = hierbert.HierBertPredictor.from_pretrained(folder, device="cpu")
source.push_to_hub("alice/predictor")
model = hierbert.HierBertForDocuments.from_pretrained(folder)
model.push_to_hub("alice/documents", private=False)
model.save_pretrained("saved", push_to_hub=True, repo_id="alice/saved")
# What was loaded from the Hub is pushed with the processor that is there.
hierbert.HierBertForDocuments.from_pretrained("alice/saved").push_to_hub("alice/again")
"""
    author.run(code, {"HF_TOKEN": TOKEN}, folder=str(copy))
    mine = HierBertPredictor.from_pretrained(copy, device="cpu")
    labels = [row.label for row in mine.classify(TEXTS)]
    for name in ("predictor", "documents", "saved", "again"):
        found = stranger.run(CLASSIFY, name=f"alice/{name}", texts=TEXTS).result
        assert [row["label"] for row in found] == labels


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
def test_every_example_of_the_card_runs(hub, author, stranger, encoders, tmp_path, kind) -> None:
    settings = {
        "single_label": {},
        "multi_label": {
            "problem_type": "multi_label_classification",
            "decision_threshold": 0.0,
            "summarization": False,
        },
        "regression": {"problem_type": "regression", "num_labels": 1, "summarization": False},
    }[kind]
    folder = save_model(tmp_path / "model", encoders["bert"], **settings)
    assert author.push(folder, "--repo", f"alice/{kind}").result == 0
    (tmp_path / "document.txt").write_text(TEXTS[0], encoding="utf-8")
    card = hub.files(f"alice/{kind}")["README.md"].decode()
    told = []
    for example in re.findall(r"```python\n(.*?)\n```", card, re.DOTALL):
        own = "hierbert" in re.findall(r"(?:from|import) (\w+)", example)
        code = f"import os; os.chdir({str(tmp_path)!r})\n{example}"
        told.append((author if own else stranger).run(code).stdout)
    mine = HierBertPredictor.from_pretrained(folder, device="cpu")
    answer = mine.classify(TEXTS[0])[0]
    assert len(told) == 4
    if kind == "regression":
        assert float(told[0]) == pytest.approx(answer.label, abs=1e-5)
    elif kind == "multi_label":
        assert told[0].startswith(str(answer.labels)) and len(answer.labels) > 1
    else:
        summary = mine.summarize(TEXTS[0], max_words=100)[0]
        assert all(str(answer.label) in text for text in told[:3])
        assert summary.summary in told[2]
        assert all(row.text in told[0] for row in summary.sentences)


# What is not loaded.

LOAD = """
from hierbert import HierBertPredictor
from hierbert import ModelError
try:
    predictor = HierBertPredictor.from_pretrained(name, token=token)
    result = [predictor.model.config.summary_limit, predictor.commit]
except ModelError as error:
    result = str(error)
"""


def test_a_private_model_needs_its_owners_token(hub, author, copy) -> None:
    hub.add("alice/secret", contents(copy), private=True)
    told = author.run(LOAD, {"HF_TOKEN": None}, name="alice/secret", token=False).result
    assert told.startswith("model alice/secret cannot be loaded") and "\n" not in told
    assert author.run(LOAD, name="alice/secret", token=TOKEN).result[0] == 3.0


def test_pickles_on_the_hub_are_refused(hub, author, copy) -> None:
    weights = HierBertForDocuments.from_pretrained(copy).state_dict()
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    hub.add("bob/pickled", contents(copy))
    before = len(hub.requests)
    told = author.run(LOAD, name="bob/pickled", token=False).result
    assert "bob/pickled" in told and "safetensors" in told
    # Nobody is asked to convert them.
    assert not [line for line in hub.requests[before:] if line.startswith("POST ")]


def test_what_was_checked_is_what_is_loaded(hub, author, copy, monkeypatch) -> None:
    """A branch that moves on between the check of a file and its use."""
    first = hub.add("bob/moves", contents(copy))
    config = json.loads((copy / "config.json").read_text())
    bad = json.dumps({**config, "summary_limit": 9.0, "attn_implementation": "bob/kernel"})

    def move(name: str, revision: str, path: str) -> None:
        if name == "bob/moves" and path != "config.json" and len(hub.commits(name)) == 1:
            hub.add(name, {"config.json": bad.encode()})

    monkeypatch.setattr(hub, "on_resolve", move)
    before = len(hub.requests)
    assert author.run(LOAD, name="bob/moves", token=False).result == [3.0, first.oid]
    assert len(hub.commits("bob/moves")) == 2
    asked = [line for line in hub.requests[before:] if "bob/moves/resolve/main" in line]
    assert asked and all(line.endswith("/config.json") for line in asked)


def test_datasets_of_the_hub_are_read(hub, author) -> None:
    rows = make_rows(10, seed=3)
    files = {
        f"{name}.jsonl": "".join(json.dumps(row) + "\n" for row in own).encode()
        for name, own in (("train", rows[:6]), ("test", rows[6:]))
    }
    hub.add("datasets/alice/corpus", files)
    hub.add("datasets/alice/hidden", files, private=True)
    code = """
from hierbert import DataError, read_documents
try:
    found = read_documents(spec, label_column="label")
    result = [[document.id, document.text, document.fields["label"]] for document in found]
except DataError as error:
    result = str(error)
"""

    def load(spec: str, token: str | None = None) -> object:
        return author.run(code, {"HF_TOKEN": token}, spec=spec).result

    expected = [[row["id"], row["text"], row["label"]] for row in rows]
    for spec in ("hub://alice/corpus", "alice/corpus"):
        assert load(spec) == expected[:6]
    assert load("alice/corpus#test") == expected[6:]
    for spec in ("alice/nothing", "hub://alice/hidden"):
        said = load(spec)
        assert spec.removeprefix("hub://") in said and "no file or folder here" in said
    assert load("hub://alice/hidden", token=TOKEN) == expected[:6]


# A run that publishes its model, and what becomes of a push that goes wrong on the way.


def run_settings(folder: Path, encoder: Path, repo: str) -> list[str]:
    """A run of both heads on a handful of documents."""
    return [
        f"data.train={write_jsonl(folder / 'train.jsonl', make_rows(24, seed=1))}",
        f"data.test={write_jsonl(folder / 'test.jsonl', make_rows(8, seed=2))}",
        "data.label_column=label",
        "data.summary_column=summary",
        f"model.encoder={encoder}",
        f"run_dir={folder / 'my run'}",
        "segmentation.max_tokens_per_segment=32",
        "training.epochs=1",
        f"publish.repo={repo}",
    ]


def test_a_run_reads_its_corpus_there_and_publishes_what_it_found(hub, encoders, tmp_path) -> None:
    shutil.copytree(encoders["bert"], tmp_path / "encoder")
    arguments = run_settings(tmp_path, tmp_path / "encoder", "alice/proof")
    files = {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
    hub.add("datasets/alice/reviews", files)
    # Each role has its own split.
    arguments = [one for one in arguments if not one.startswith(("data.train=", "data.test="))]
    arguments += ["data.train=hub://alice/reviews", "data.test=alice/reviews"]
    env = {**hub.environment(TOKEN, tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    done = succeed("train.py", *arguments, **env)
    assert "the model goes to alice/proof when the run is whole, as alice" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    files, model = hub.files("alice/proof"), tmp_path / "my run" / "model"
    assert contents(model).items() <= files.items()
    card = files["README.md"].decode()
    assert str(tmp_path) not in card + files["config.resolved.yaml"].decode()
    assert "datasets:\n- alice/reviews\n" in card
    # The encoder was a folder: that is remembered, not where it was.
    assert json.loads(files["config.json"])["text_config"]["_name_or_path"] == "./encoder"
    results = json.loads(files["results.json"])
    took, scores, counts = results["resources"], results["scores"], results["label_counts"]
    assert (results["documents"], sum(counts.values())) == (8, 22)
    low, high = (100 * results["intervals"]["accuracy"][end] for end in ("low", "high"))
    for line in (
        f"| film | {counts['film']} | 4 |",
        f"| reading and answering, tokens/s | {took['scoring_tokens_per_second']:,.0f} |",
        f"| training, tokens/s | {took['training_tokens_per_second']:,.0f} |",
        f"| peak memory of the process, MiB | {took['peak_memory_mib']:,.0f} |",
        f"| **this model** | {100 * scores['accuracy']:.1f} [{low:.1f}, {high:.1f}] |",
    ):
        assert f"\n{line}" in card, line


def test_a_push_that_fails_loses_no_run_and_says_how_to_push_again(encoders, tmp_path) -> None:
    with LocalHub(dict(USERS)) as hub:
        env = {**hub.environment(TOKEN, tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
        arguments = run_settings(tmp_path, encoders["bert"], "bob/theirs")
        more = ["publish.private=true", "publish.revision=v2", "publish.license=mit"]
        done = run("train.py", *arguments, "baselines=false", *more, **env)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        error = done.stderr.splitlines()[-1]
        folder = tmp_path / "my run"
        assert error.startswith(f"error: the run is whole in {folder}, but its model was not push")
        assert "(403)" in error and json.loads((folder / "results.json").read_text())["scores"]
        command = shlex.split(re.findall(r"Push it with: (python .*)$", error)[0])
        # The token becomes one of Bob's, and the very command that was printed works.
        hub.users[TOKEN] = "bob"
        subprocess.run(
            [sys.executable, *command[1:]],
            capture_output=True,
            env={**os.environ, **env},
            check=True,
        )
        files = hub.files("bob/theirs", "v2")
        assert files["model.safetensors"] == (folder / "model/model.safetensors").read_bytes()
        assert b"\nlicense: mit\n" in files["README.md"]
        assert b"\n  train: train.jsonl\n" in files["config.resolved.yaml"]
        assert hub.repositories["bob/theirs"].private and len(hub.commits("bob/theirs")) == 1


def test_a_refused_token_is_told_before_training(hub, encoders, tmp_path) -> None:
    env = hub.environment("hf_wrongSecretToken", tmp_path / "hf")
    done = run("train.py", *run_settings(tmp_path, encoders["bert"], "alice/x"), **env)
    assert done.returncode == 2 and "refuses this token (401)" in done.stderr
    assert "hf_wrong" not in done.stdout + done.stderr
    assert not (tmp_path / "my run").exists()


def test_a_killed_upload_goes_on_where_it_was(copy, tmp_path) -> None:
    save_in_shards(copy)
    large = [path for path in copy.iterdir() if path.stat().st_size >= 30_000]
    assert len(large) > 3
    clients: list[subprocess.Popen[bytes]] = []

    def kill_at_the_third(stored: int) -> None:
        if stored == 2:
            clients[0].kill()
            raise ConnectionError

    with LocalHub(USERS, lfs_from_bytes=30_000, before_store=kill_at_the_third) as hub:
        env = {**os.environ, **hub.environment(TOKEN, tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
        env |= {"HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "hierbert.publishing", str(copy), "--repo", "alice/big"]

        def push() -> int:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            clients.insert(0, subprocess.Popen(command, env=env, **quiet))
            return clients[0].wait()

        assert push() == -signal.SIGKILL
        assert hub.stored == 2 and len(hub.commits("alice/big")) == 1
        hub.before_store = None
        assert push() == 0
        # Each is stored once. Requests are not counted: the killed client's may still come in.
        assert hub.stored == len(large)
        assert len(hub.commits("alice/big")) == 2
        files = hub.files("alice/big")
        assert all(files[path.name] == path.read_bytes() for path in large)


def test_without_a_network_one_line_says_so(model, tmp_path) -> None:
    with LocalHub(USERS) as hub:
        pass
    with Worker(tmp_path, hub, hierbert=True) as author:
        error = author.push(model, "--repo", "alice/none").error
    assert error.startswith(f"{hub.url} cannot be reached")
    assert error.endswith("the same command goes on") and TOKEN not in error
