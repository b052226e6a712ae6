"""Publishing and loading with the genuine clients, over HTTP, against a Hub on this machine."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import make_rows
from inference import save_model
from local_hub import LocalHub
from publishing import FIRST_FORMAT, TOKEN, USERS, Worker

from hierbert import HierBertForDocuments, HierBertPredictor

pytestmark = pytest.mark.slow

TEXTS = [str(row["text"]) for row in make_rows(4, seed=5, sentences=30)] + [
    "",
    "The film was good! The 😀 plot. هذا فيلم جيد؟ 这部电影很好。",
]


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


@pytest.fixture(scope="module")
def stranger(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A process without hierbert and without a token."""
    with Worker(tmp_path_factory.mktemp("stranger"), hub, hierbert=False) as worker:
        yield worker


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with both heads, as `save_pretrained` leaves it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    names = {0: "film", 1: "law", 2: "other"}
    labels = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    return save_model(
        folder, encoders["bert"], summary_budget="max_sentences", summary_limit=3.0, **labels
    )


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


def edit(folder: Path, **values: object) -> None:
    """Change the configuration of a model."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def page(hub: LocalHub, name: str) -> str:
    return hub.files(name)["README.md"].decode()


def close(found: object, expected: object) -> bool:
    return torch.allclose(torch.tensor(found), torch.tensor(expected), rtol=0, atol=1e-6)


# What a push sends, takes away and leaves.


def test_weights_of_another_sharding_do_not_stay_behind(hub, author, copy) -> None:
    hub.add("alice/shards", {"mine.py": b"x = 1\n", "notes.txt": b"mine"})
    assert author.push(copy, "--repo", "alice/shards").result == 0
    loaded = HierBertForDocuments.from_pretrained(copy, dtype=torch.float32)
    (copy / "model.safetensors").unlink()
    loaded.save_pretrained(copy, max_shard_size="60KB")
    shards = {path.name for path in copy.glob("model-*.safetensors")}
    assert len(shards) > 2
    done = author.push(copy, "--repo", "alice/shards")
    assert "deleted there, for it would be read beside the new model: model.saf" in done.stderr
    files = set(hub.files("alice/shards"))
    assert shards | {"model.safetensors.index.json", "mine.py", "notes.txt"} < files
    assert "model.safetensors" not in files
    # And back to one file.
    for path in copy.glob("model*.safetensors*"):
        path.unlink()
    loaded.save_pretrained(copy)
    assert author.push(copy, "--repo", "alice/shards").result == 0
    files = set(hub.files("alice/shards"))
    assert "model.safetensors" in files and not files & {*shards, "model.safetensors.index.json"}


def test_what_the_author_wrote_on_the_page_stays(hub, author, copy, tmp_path) -> None:
    results = {"split": "test", "documents": 4, "epochs": 1, "steps": 2, "best_step": 2}
    (copy.parent / "results.json").write_text(json.dumps({**results, "scores": {"accuracy": 0.75}}))
    assert author.push(copy, "--repo", "alice/words").result == 0
    card = page(hub, "alice/words")
    todo = next(line for line in card.splitlines() if line.startswith("**TODO"))
    edited = card.replace(todo, "Reviews of films.").replace("---\n", "---\nlanguage: en\n", 1)
    hub.add("alice/words", {"README.md": edited.encode()})
    assert "nothing has changed" in author.push(copy, "--repo", "alice/words").stderr
    assert page(hub, "alice/words") == edited
    # The figures are renewed around it.
    edit(copy, summary_limit=7.0)
    assert author.push(copy, "--repo", "alice/words").result == 0
    edited = edited.replace("at most 3 sentences", "at most 7 sentences")
    assert page(hub, "alice/words") == edited
    # A copy without its run leaves the run on the page.
    alone = Path(shutil.copytree(copy, tmp_path / "elsewhere" / "model"))
    done = author.push(alone, "--repo", "alice/words", "--license", "mit")
    assert done.result == 0 and "without the run nothing new is known" in done.stderr
    assert json.loads(hub.files("alice/words")["results.json"])["scores"] == {"accuracy": 0.75}
    shown = page(hub, "alice/words")
    kept = ("model-index:", "value: 0.75", "license: mit\n", "at most 7", "Reviews of films.")
    assert all(words in shown for words in kept)
    # Words are given up on demand only.
    assert author.push(copy, "--repo", "alice/words", "--overwrite-card").result == 0
    assert todo in page(hub, "alice/words")


def test_a_page_of_the_authors_own_is_kept(hub, author, copy, tmp_path) -> None:
    hub.add("alice/own", {"README.md": b"---\nlicense: mit\n---\n# My model\n"})
    done = author.push(copy, "--repo", "alice/own")
    assert done.result == 0 and "kept as it is" in done.stderr
    assert page(hub, "alice/own") == "---\nlicense: mit\n---\n# My model\n"
    # A page that the Hub made for a licence chosen there has no words to keep.
    hub.add("alice/licensed", {"README.md": b"---\nlicense: mit\n---\n"})
    assert author.push(copy, "--repo", "alice/licensed").result == 0
    card = page(hub, "alice/licensed")
    assert "\nlicense: mit\n" in card and "## How to use" in card
    (tmp_path / "card.md").write_text("---\nlicense: mit\n---\n# By hand\n")
    assert author.push(copy, "--repo", "alice/own", "--card", tmp_path / "card.md").result == 0
    assert page(hub, "alice/own").endswith("# By hand\n")
    # A card that the Hub does not read is refused before anything is sent.
    (tmp_path / "card.md").write_text("---\nlicense: [\n---\n# Mine\n")
    stored = hub.stored
    done = author.push(copy, "--repo", "alice/badcard", "--card", tmp_path / "card.md")
    assert "metadata" in done.error and hub.stored == stored
    assert len(hub.commits("alice/badcard")) == 1


def test_a_public_page_is_not_made_private(hub, author, copy) -> None:
    hub.add("alice/public", {"README.md": b"x"})
    error = author.push(copy, "--repo", "alice/public", "--private").error
    assert "alice/public is public" in error and set(hub.files("alice/public")) == {"README.md"}


def test_nobody_elses_commit_is_overwritten(hub, author, copy) -> None:
    assert author.push(copy, "--repo", "alice/shared").result == 0
    weights = copy / "model.safetensors"
    loaded = HierBertForDocuments.from_pretrained(copy, dtype=torch.float32)
    with torch.no_grad():
        loaded.classifier.output.weight.add_(1)
    loaded.save_pretrained(copy)
    # Someone commits while the weights are on their way.
    hub.before_store = lambda _: hub.add("alice/shared", {"theirs.txt": b"x"}) and None
    try:
        done = author.push(copy, "--repo", "alice/shared")
    finally:
        hub.before_store = None
    assert "changed by someone else in the meantime; push again" in done.error
    assert hub.files("alice/shared")["model.safetensors"] != weights.read_bytes()
    assert author.push(copy, "--repo", "alice/shared").result == 0
    files = hub.files("alice/shared")
    assert files["model.safetensors"] == weights.read_bytes() and files["theirs.txt"] == b"x"


# What strangers load.

FOUR_WAYS = """
from transformers import AutoModel, AutoModelForSequenceClassification, AutoProcessor, pipeline
trust = {"trust_remote_code": True}
processor = AutoProcessor.from_pretrained(name, **trust)
model = AutoModelForSequenceClassification.from_pretrained(name, **trust)
assert "transformers_modules" in type(model).__module__, type(model)
assert "transformers_modules" in type(processor).__module__, type(processor)
AutoModel.from_pretrained(name, **trust)
result = {
    "logits": model(**processor(texts)).logits.tolist(),
    "labels": pipeline("document-classification", model=name, **trust)(texts),
    "summaries": pipeline("document-summarization", model=name, **trust)(texts),
}
"""
WITH_HIERBERT = """
import hierbert
from transformers import AutoModelForSequenceClassification, AutoProcessor, pipeline
predictor = hierbert.HierBertPredictor.from_pretrained(name, device="cpu")
model = AutoModelForSequenceClassification.from_pretrained(name)
processor = AutoProcessor.from_pretrained(name)
assert type(model) is hierbert.HierBertForDocuments, type(model)
assert type(processor) is hierbert.HierBertProcessor, type(processor)
result = [model(**processor(texts)).logits.tolist()]
for trust in (True, False):
    for task in ("document-classification", "document-summarization"):
        pipe = pipeline(task, model=name, trust_remote_code=trust)
        assert type(pipe.model) is hierbert.HierBertForDocuments
        result.append(pipe(texts))
result += [row.probabilities for row in predictor.classify(texts)]
"""


def test_with_hierbert_its_own_classes_answer_as_a_strangers_do(
    hub, author, stranger, copy
) -> None:
    assert author.push(copy, "--repo", "alice/ways").result == 0
    found = stranger.run(FOUR_WAYS, name="alice/ways", texts=TEXTS).result
    assert not close(found["logits"][0], found["logits"][1])  # or nothing would be compared
    # No question about remote code.
    logits, *pipes = author.run(WITH_HIERBERT, name="alice/ways", texts=TEXTS).result
    assert close(logits, found["logits"])
    for number, (key, name) in enumerate((("labels", "label"), ("summaries", "summary")) * 2):
        assert [row[name] for row in pipes[number]] == [row[name] for row in found[key]]
    for shares, label in zip(pipes[4:], found["labels"], strict=True):
        assert shares == pytest.approx(label["probabilities"], abs=1e-6)


def test_the_first_format_becomes_a_page(hub, author, stranger) -> None:
    assert author.push(FIRST_FORMAT, "--repo", "alice/first").result == 0
    expected = json.loads((FIRST_FORMAT / "expected.json").read_text(encoding="utf-8"))
    texts = [row["text"] for row in expected]
    found = stranger.run(FOUR_WAYS, name="alice/first", texts=texts).result
    for answer, summary, row in zip(found["labels"], found["summaries"], expected, strict=True):
        assert answer["probabilities"] == pytest.approx(row["probabilities"], abs=1e-6)
        places = [[s["start"], s["end"]] for s in summary["sentences"]]
        assert places == [[start, end] for start, end, _ in row["sentences"]]


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
        found = stranger.run(FOUR_WAYS, name=f"alice/{name}", texts=TEXTS).result
        assert [row["label"] for row in found["labels"]] == labels


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "problem_type": "multi_label_classification",
            "decision_threshold": 0.0,
            "summarization": False,
        },
        {"problem_type": "regression", "num_labels": 1, "summarization": False},
    ],
)
def test_every_example_of_the_card_runs(
    hub, author, stranger, encoders, tmp_path, settings
) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"], **settings)
    kind = settings.get("problem_type", "single")
    assert author.push(folder, "--repo", f"alice/{kind}").result == 0
    config = json.loads(hub.files(f"alice/{kind}")["config.json"])
    assert "document-classification" in config["custom_pipelines"]
    assert ("document-summarization" in config["custom_pipelines"]) == (not settings)
    (tmp_path / "document.txt").write_text(TEXTS[0], encoding="utf-8")
    told = []
    for example in re.findall(r"```python\n(.*?)\n```", page(hub, f"alice/{kind}"), re.DOTALL):
        own = "hierbert" in re.findall(r"(?:from|import) (\w+)", example)
        code = f"import os; os.chdir({str(tmp_path)!r})\n{example}"
        told.append((author if own else stranger).run(code).stdout)
    mine = HierBertPredictor.from_pretrained(folder, device="cpu")
    answer = mine.classify(TEXTS[0])[0]
    assert len(told) == 4
    if kind == "regression":
        assert float(told[0]) == pytest.approx(answer.label, abs=1e-5)
    elif kind.startswith("multi"):
        assert told[0].startswith(str(answer.labels)) and len(answer.labels) == 3
    else:
        summary = mine.summarize(TEXTS[0], max_words=100)[0]
        assert all(str(answer.label) in text for text in told[:3])
        assert summary.summary in told[2]
        assert all(row.text in told[0] for row in summary.sentences)


def test_the_dtype_asked_for_is_the_dtype_given(hub, author, stranger, copy) -> None:
    half = HierBertForDocuments.from_pretrained(copy, dtype=torch.bfloat16)
    half.save_pretrained(copy)
    assert author.push(copy, "--repo", "alice/half").result == 0
    code = """
import torch
from transformers import AutoModelForSequenceClassification as Auto
def kinds(model):
    return sorted({str(weight.dtype) for weight in model.parameters()})
result = [
    kinds(Auto.from_pretrained("alice/half", trust_remote_code=True, **given))
    for given in ({}, {"dtype": torch.float32}, {"dtype": "float16"})
]
"""
    expected = [["torch.bfloat16"], ["torch.float32"], ["torch.float16"]]
    assert stranger.run(code).result == expected
    code = """
from hierbert import HierBertPredictor
result = [
    str(next(HierBertPredictor.from_pretrained("alice/half", **given).model.parameters()).dtype)
    for given in ({}, {"dtype": "bfloat16"})
]
"""
    assert author.run(code).result == ["torch.float32", "torch.bfloat16"]


# What is not loaded.

REFUSED = """
from hierbert.errors import ModelError
from hierbert import HierBertPredictor
try:
    HierBertPredictor.from_pretrained(name, token=token)
    result = "loaded"
except ModelError as error:
    result = str(error)
"""


def test_a_private_model_needs_its_owners_token(hub, author, stranger, copy) -> None:
    assert author.push(copy, "--repo", "alice/secret", "--private").result == 0
    assert hub.repositories["alice/secret"].private
    code = """
from transformers import AutoConfig
try:
    AutoConfig.from_pretrained("alice/secret", trust_remote_code=True, token=token)
    result = "loaded"
except OSError as error:
    result = "refused"
"""
    assert stranger.run(code, token=False).result == "refused"
    assert stranger.run(code, token=TOKEN).result == "loaded"
    told = author.run(REFUSED, {"HF_TOKEN": None}, name="alice/secret", token=False).result
    assert told.startswith("model alice/secret cannot be loaded") and "\n" not in told


def test_pickles_on_the_hub_are_refused(hub, author, copy) -> None:
    weights = HierBertForDocuments.from_pretrained(copy).state_dict()
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    hub.add("bob/pickled", {path.name: path.read_bytes() for path in copy.iterdir()})
    before = len(hub.requests)
    told = author.run(REFUSED, name="bob/pickled", token=None).result
    # Nobody is asked to convert them.
    assert not [line for line in hub.requests[before:] if line.split()[0] == "POST"]
    assert "bob/pickled" in told and "safetensors" in told and told != "loaded"


def test_what_was_checked_is_what_is_loaded(hub, author, copy, monkeypatch) -> None:
    """A branch that moves on between the check of a file and its use."""
    first = hub.add("bob/moves", {path.name: path.read_bytes() for path in copy.iterdir()})
    edit(copy, summary_limit=9.0, attn_implementation="bob/kernel")
    bad = (copy / "config.json").read_bytes()

    def move(name: str, revision: str, path: str) -> None:
        if name == "bob/moves" and path != "config.json" and len(hub.commits(name)) == 1:
            hub.add(name, {"config.json": bad})

    monkeypatch.setattr(hub, "on_resolve", move)
    code = """
from hierbert import HierBertPredictor
predictor = HierBertPredictor.from_pretrained("bob/moves")
result = [predictor.model.config.summary_limit, predictor.commit]
"""
    before = len(hub.requests)
    assert author.run(code).result == [3.0, first.oid]
    assert len(hub.commits("bob/moves")) == 2
    asked = [line for line in hub.requests[before:] if "bob/moves/resolve/main" in line]
    assert asked and all(line.endswith("/config.json") for line in asked)


def test_datasets_of_the_hub_train(hub, author) -> None:
    rows = make_rows(10, seed=3)
    lines = {name: rows[start:end] for name, start, end in (("train", 0, 6), ("test", 6, 10))}
    files = {
        f"{name}.jsonl": "".join(json.dumps(row) + "\n" for row in own).encode()
        for name, own in lines.items()
    }
    hub.add("datasets/alice/corpus", files)
    hub.add("datasets/alice/hidden", files, private=True)
    code = """
from hierbert.data.corpus import Columns, load_examples
from hierbert.errors import DataError
def load(spec, role):
    columns = Columns("text", "id", {"label": "label", "summary": "summary"})
    found = load_examples(spec, columns, role=role)
    return [[e.id, e.text, e.fields["label"], e.fields["summary"]] for e in found]
try:
    result = load(spec, role)
except DataError as error:
    result = str(error)
"""
    expected = [[r["id"], r["text"], r["label"], r["summary"]] for r in rows]
    for spec in ("hub://alice/corpus", "alice/corpus"):
        assert author.run(code, spec=spec, role="train").result == expected[:6]
        assert author.run(code, spec=spec, role="test").result == expected[6:]
    assert author.run(code, spec="alice/corpus#test", role="train").result == expected[6:]
    none = {"HF_TOKEN": None}
    said = author.run(code, none, spec="alice/nothing", role="train").result
    assert "alice/nothing" in said and "no file or folder here" in said
    said = author.run(code, none, spec="hub://alice/hidden", role="train").result
    assert "alice/hidden" in said and "no file or folder here" in said
    owner = {"HF_TOKEN": TOKEN}
    assert author.run(code, owner, spec="hub://alice/hidden", role="train").result == expected[:6]
