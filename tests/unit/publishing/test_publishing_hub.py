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
from transformers import AutoTokenizer

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


def test_large_files_are_stored_once(hub, author, copy) -> None:
    done = author.push(copy, "--repo", "alice/once")
    assert done.result == 0, done.stderr
    _, commit = hub.commits("alice/once")
    assert commit.files["model.safetensors"].lfs and not commit.files["config.json"].lfs
    assert commit.files["model.safetensors"].content == (copy / "model.safetensors").read_bytes()
    stored = hub.stored
    again = author.push(copy, "--repo", "alice/once")
    assert again.result == 0 and "nothing has changed" in again.stderr
    assert len(hub.commits("alice/once")) == 2 and hub.stored == stored > 0


def test_only_what_changed_is_in_the_next_commit(hub, author, copy) -> None:
    assert author.push(copy, "--repo", "alice/next").result == 0
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "summary_limit": 5.0}))
    (copy / "notes.txt").write_text("mine")
    done = author.push(copy, "--repo", "alice/next", "--message", "Longer summaries")
    assert done.result == 0 and "left out, for it is no part of the model: notes.txt" in done.stderr
    before, after = hub.commits("alice/next")[-2:]
    assert after.title == "Longer summaries"
    changed = {path for path in after.files if after.files[path] != before.files.get(path)}
    assert changed == {"config.json", "README.md"}
    assert set(before.files) == set(after.files)


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
    for path in copy.glob("model*"):
        path.unlink()
    loaded.save_pretrained(copy)
    assert author.push(copy, "--repo", "alice/shards").result == 0
    files = set(hub.files("alice/shards"))
    assert "model.safetensors" in files and not files & {*shards, "model.safetensors.index.json"}


def test_a_copy_without_its_run_leaves_the_run_on_the_page(hub, author, copy, tmp_path) -> None:
    results = {"split": "test", "documents": 4, "epochs": 1, "steps": 2, "best_step": 2}
    (copy.parent / "results.json").write_text(json.dumps({**results, "scores": {"accuracy": 0.75}}))
    assert author.push(copy, "--repo", "alice/alone").result == 0
    before = hub.files("alice/alone")
    assert b"model-index" in before["README.md"] and "results.json" in before
    alone = Path(shutil.copytree(copy, tmp_path / "elsewhere" / "model"))
    config = json.loads((alone / "config.json").read_text())
    (alone / "config.json").write_text(json.dumps({**config, "summary_limit": 8.0}))
    done = author.push(alone, "--repo", "alice/alone", "--license", "mit")
    assert done.result == 0 and "without the run nothing new is known" in done.stderr
    after = hub.files("alice/alone")
    assert after["results.json"] == before["results.json"]
    index = b"model-index:", b"value: 0.75", b"license: mit\n", b"at most 8 sentences"
    assert all(words in after["README.md"] for words in index)


def test_what_the_author_wrote_on_the_page_stays(hub, author, copy) -> None:
    assert author.push(copy, "--repo", "alice/words").result == 0
    card = hub.files("alice/words")["README.md"].decode()
    todo = next(line for line in card.splitlines() if line.startswith("**TODO"))
    edited = card.replace(todo, "Reviews of films.").replace("---\n", "---\nlanguage: en\n", 1)
    hub.add("alice/words", {"README.md": edited.encode()})
    done = author.push(copy, "--repo", "alice/words")
    assert "nothing has changed" in done.stderr
    assert hub.files("alice/words")["README.md"].decode() == edited
    # The figures are renewed around it.
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "summary_limit": 7.0}))
    assert author.push(copy, "--repo", "alice/words").result == 0
    renewed = hub.files("alice/words")["README.md"].decode()
    assert "at most 7 sentences" in renewed and "at most 3 sentences" not in renewed
    assert renewed == edited.replace("at most 3 sentences", "at most 7 sentences")
    # And given up on demand only.
    assert author.push(copy, "--repo", "alice/words", "--overwrite-card").result == 0
    assert todo in hub.files("alice/words")["README.md"].decode()


def test_a_page_of_the_authors_own_is_kept(hub, author, copy, tmp_path) -> None:
    hub.add("alice/own", {"README.md": b"---\nlicense: mit\n---\n# My model\n"})
    done = author.push(copy, "--repo", "alice/own")
    assert done.result == 0 and "kept as it is" in done.stderr
    assert hub.files("alice/own")["README.md"] == b"---\nlicense: mit\n---\n# My model\n"
    # A page that the Hub made for a licence chosen there has no words to keep.
    hub.add("alice/licensed", {"README.md": b"---\nlicense: mit\n---\n"})
    assert author.push(copy, "--repo", "alice/licensed").result == 0
    card = hub.files("alice/licensed")["README.md"].decode()
    assert "\nlicense: mit\n" in card and "## How to use" in card
    (tmp_path / "card.md").write_text("---\nlicense: mit\n---\n# By hand\n")
    assert author.push(copy, "--repo", "alice/own", "--card", tmp_path / "card.md").result == 0
    assert hub.files("alice/own")["README.md"].endswith(b"# By hand\n")


def test_a_branch_is_made_and_found_by_revision(hub, author, stranger, copy) -> None:
    assert author.push(copy, "--repo", "alice/branches").result == 0
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "summary_limit": 9.0}))
    assert author.push(copy, "--repo", "alice/branches", "--revision", "long").result == 0
    assert author.push(copy, "--repo", "alice/branches", "--revision", "long").result == 0
    assert [len(hub.commits("alice/branches", name)) for name in ("main", "long")] == [2, 3]
    code = """
from transformers import AutoConfig
trust = {"trust_remote_code": True}
result = [
    AutoConfig.from_pretrained("alice/branches", revision=name, **trust).summary_limit
    for name in ("main", "long", commit)
]
"""
    first = hub.commits("alice/branches")[-1].oid
    assert stranger.run(code, commit=first).result == [3.0, 9.0, 3.0]


def test_mistakes_at_the_hub_are_one_line(hub, author, copy) -> None:
    missing = author.push(copy, "--repo", "alice/none", token=None).error
    assert "there is no Hub token" in missing and "hf auth login" in missing
    refused = author.push(copy, "--repo", "alice/none", token="hf_wrongSecretToken").error
    assert "refuses this token (401)" in refused and "hf_wrong" not in refused
    other = author.push(copy, "--repo", "bob/none").error
    assert "does not let this token write bob/none (403)" in other
    assert "alice/none" not in hub.repositories and "bob/none" not in hub.repositories
    hub.add("alice/public", {"README.md": b"x"})
    public = author.push(copy, "--repo", "alice/public", "--private").error
    assert "alice/public is public, and a private page was asked for" in public
    assert set(hub.files("alice/public")) == {"README.md"}


def test_a_bad_card_is_refused_before_anything_is_sent(hub, author, copy, tmp_path) -> None:
    (tmp_path / "card.md").write_text("---\nlicense: [\n---\n# Mine\n")
    stored = hub.stored
    done = author.push(copy, "--repo", "alice/badcard", "--card", tmp_path / "card.md")
    assert "metadata" in done.error and hub.stored == stored
    assert len(hub.commits("alice/badcard")) == 1


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


def test_a_token_is_never_shown_or_written(hub, author, copy, tmp_path) -> None:
    done = author.push(copy, "--repo", "alice/quiet", "--card-out", tmp_path / "card.md")
    assert done.result == 0
    secret = TOKEN.encode()
    assert TOKEN not in done.stdout + done.stderr
    assert not [path for path, data in hub.files("alice/quiet").items() if secret in data]
    places = [tmp_path, author.home]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if secret in path.read_bytes()]


FOUR_WAYS = """
from transformers import AutoModel, AutoModelForSequenceClassification, AutoProcessor, pipeline
trust = {"trust_remote_code": True, **hub}
processor = AutoProcessor.from_pretrained(name, **trust)
model = AutoModelForSequenceClassification.from_pretrained(name, **trust)
assert "transformers_modules" in type(model).__module__, type(model)
assert "transformers_modules" in type(processor).__module__, type(processor)
output = model(**processor(texts))
base = AutoModel.from_pretrained(name, **trust)
vectors = base(**processor(texts)).document_vectors
result = {
    "logits": output.logits.tolist(),
    "scores": output.sentence_scores.tolist(),
    "vectors": vectors.tolist(),
    "labels": pipeline("document-classification", model=name, **trust)(texts),
    "summaries": pipeline("document-summarization", model=name, **trust)(texts),
}
"""


def close(found: object, expected: object) -> bool:
    return torch.allclose(torch.tensor(found), torch.tensor(expected), rtol=0, atol=1e-6)


def test_every_way_of_loading_gives_the_same_answers(hub, author, stranger, copy) -> None:
    assert author.push(copy, "--repo", "alice/ways").result == 0
    mine = HierBertPredictor.from_pretrained(copy, device="cpu")
    labels, summaries = mine.classify(TEXTS), mine.summarize(TEXTS)
    vectors = [answer.document_vector for answer in mine.embed(TEXTS)]
    with torch.no_grad():
        output = mine.model(**mine.processor(TEXTS))
    found = stranger.run(FOUR_WAYS, name="alice/ways", texts=TEXTS, hub={}).result
    assert close(found["logits"], output.logits.tolist())
    assert close(found["scores"], output.sentence_scores.tolist())
    assert close(found["vectors"], vectors)
    shares = [[*answer.probabilities.values()] for answer in labels]
    assert not close(shares[0], shares[1])  # or the comparison would say nothing
    for answer, own in zip(found["labels"], labels, strict=True):
        assert answer["label"] == own.label
        assert answer["score"] == max(answer["probabilities"].values())
        assert list(answer["probabilities"]) == list(own.probabilities)
        assert close([*answer["probabilities"].values()], [*own.probabilities.values()])
    assert sum(len(own.sentences) for own in summaries) > 8
    for answer, own in zip(found["summaries"], summaries, strict=True):
        assert answer["summary"] == own.summary
        places = [(row["text"], row["start"], row["end"]) for row in answer["sentences"]]
        assert places == [(row.text, row.start, row.end) for row in own.sentences]
        assert close([r["score"] for r in answer["sentences"]], [r.score for r in own.sentences])
    # With hierbert: its own classes, and no question about remote code.
    code = """
import hierbert, torch
from transformers import AutoModelForSequenceClassification, AutoProcessor
predictor = hierbert.HierBertPredictor.from_pretrained("alice/ways", device="cpu")
model = AutoModelForSequenceClassification.from_pretrained("alice/ways")
processor = AutoProcessor.from_pretrained("alice/ways")
assert type(model) is hierbert.HierBertForDocuments, type(model)
assert type(processor) is hierbert.HierBertProcessor, type(processor)
rows = predictor.predict(texts)
result = [
    model(**processor(texts)).logits.tolist(),
    [[row.probabilities, [[s.start, s.end] for s in row.sentences]] for row in rows],
]
"""
    logits, rows = author.run(code, texts=TEXTS).result
    assert close(logits, output.logits.tolist())
    for (own, places), label, summary in zip(rows, labels, summaries, strict=True):
        assert close([*own.values()], [*label.probabilities.values()])
        assert places == [[row.start, row.end] for row in summary.sentences]


def test_remote_pipelines_take_up_the_model_of_hierbert(hub, author, stranger, copy) -> None:
    assert author.push(copy, "--repo", "alice/mixed").result == 0
    code = """
import hierbert
from transformers import pipeline
result = []
for task in ("document-classification", "document-summarization"):
    pipe = pipeline(task, model="alice/mixed", trust_remote_code=True)
    assert type(pipe.model) is hierbert.HierBertForDocuments
    result.append(pipe(texts))
"""
    labels, summaries = author.run(code, texts=TEXTS).result
    found = stranger.run(FOUR_WAYS, name="alice/mixed", texts=TEXTS, hub={}).result
    assert [row["label"] for row in labels] == [row["label"] for row in found["labels"]]
    assert [row["summary"] for row in summaries] == [row["summary"] for row in found["summaries"]]


def test_every_example_of_the_card_runs(hub, author, stranger, copy, tmp_path) -> None:
    assert author.push(copy, "--repo", "alice/card").result == 0
    card = hub.files("alice/card")["README.md"].decode()
    examples = re.findall(r"```python\n(.*?)\n```", card, re.DOTALL)
    assert len(examples) == 4
    (tmp_path / "document.txt").write_text(TEXTS[0], encoding="utf-8")
    mine = HierBertPredictor.from_pretrained(copy, device="cpu")
    label, summary = mine.classify(TEXTS[0])[0].label, mine.summarize(TEXTS[0], max_words=100)[0]
    for number, example in enumerate(examples):
        worker = author if "hierbert" in re.findall(r"(?:from|import) (\w+)", example) else stranger
        done = worker.run(f"import os; os.chdir({str(tmp_path)!r})\n{example}")
        if number < 3:
            assert str(label) in done.stdout, example
        if number == 2:
            assert summary.summary in done.stdout
        if number == 0:
            assert all(row.text in done.stdout for row in summary.sentences)
    worker_names = [e for e in examples if "hierbert" in re.findall(r"(?:from|import) (\w+)", e)]
    assert len(worker_names) == 2


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_the_examples_of_other_heads_run_too(
    hub, author, stranger, encoders, tmp_path, problem
) -> None:
    count = 3 if problem.startswith("multi") else 1
    folder = save_model(
        tmp_path / "model",
        encoders["bert"],
        problem_type=problem,
        num_labels=count,
        summarization=False,
        decision_threshold=0.0,
    )
    assert author.push(folder, "--repo", f"alice/{problem}").result == 0
    card = hub.files(f"alice/{problem}")["README.md"].decode()
    config = json.loads(hub.files(f"alice/{problem}")["config.json"])
    assert list(config["custom_pipelines"]) == ["document-classification"]
    (tmp_path / "document.txt").write_text(TEXTS[0], encoding="utf-8")
    said = []
    for example in re.findall(r"```python\n(.*?)\n```", card, re.DOTALL):
        worker = author if "hierbert" in re.findall(r"(?:from|import) (\w+)", example) else stranger
        said.append(worker.run(f"import os; os.chdir({str(tmp_path)!r})\n{example}").stdout)
    answer = HierBertPredictor.from_pretrained(folder, device="cpu").classify(TEXTS[0])[0]
    if problem == "regression":
        assert abs(float(said[0]) - answer.label) < 1e-5
    else:
        assert said[0].startswith(str(answer.labels)) and len(answer.labels) == 3


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
    said = author.run(
        """
from hierbert.errors import ModelError
from hierbert import HierBertPredictor
try:
    HierBertPredictor.from_pretrained("alice/secret", token=token)
    result = "loaded"
except ModelError as error:
    result = str(error)
""",
        {"HF_TOKEN": None},
        token=False,
    ).result
    assert said.startswith("model alice/secret cannot be loaded") and "\n" not in said


def test_pickles_on_the_hub_are_refused(hub, author, copy) -> None:
    files = {path.name: path.read_bytes() for path in copy.iterdir()}
    del files["model.safetensors"]
    weights = HierBertForDocuments.from_pretrained(copy).state_dict()
    torch.save(weights, copy / "pytorch_model.bin")
    files["pytorch_model.bin"] = (copy / "pytorch_model.bin").read_bytes()
    hub.add("bob/pickled", files)
    code = """
from hierbert.errors import ModelError
from hierbert import HierBertPredictor
try:
    HierBertPredictor.from_pretrained("bob/pickled")
    result = "loaded"
except ModelError as error:
    result = str(error)
"""
    before = len(hub.requests)
    said = author.run(code).result
    # Nobody is asked to convert them.
    assert not [line for line in hub.requests[before:] if line.split()[0] == "POST"]
    assert said.startswith("model bob/pickled cannot be loaded") and "safetensors" in said


def test_what_was_checked_is_what_is_loaded(hub, author, copy, monkeypatch) -> None:
    """A branch that moves on between the check of a file and its use."""
    files = {path.name: path.read_bytes() for path in copy.iterdir()}
    config = json.loads(files["config.json"])
    bad = json.dumps({**config, "summary_limit": 9.0, "attn_implementation": "bob/kernel"})

    def move(name: str, revision: str, path: str) -> None:
        if name == "bob/moves" and path != "config.json" and len(hub.commits(name)) == 1:
            hub.add(name, {"config.json": bad.encode()})

    first = hub.add("bob/moves", files)
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


def test_the_first_format_becomes_a_page(hub, author, stranger) -> None:
    assert author.push(FIRST_FORMAT, "--repo", "alice/first").result == 0
    expected = json.loads((FIRST_FORMAT / "expected.json").read_text(encoding="utf-8"))
    texts = [row["text"] for row in expected]
    found = stranger.run(FOUR_WAYS, name="alice/first", texts=texts, hub={}).result
    for answer, summary, row in zip(found["labels"], found["summaries"], expected, strict=True):
        assert close([*answer["probabilities"].values()], [*row["probabilities"].values()])
        places = [[s["start"], s["end"]] for s in summary["sentences"]]
        assert places == [[start, end] for start, end, _ in row["sentences"]]


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
    columns = Columns("text", "label", "summary", "id")
    found = load_examples(spec, columns, field=f"data.{role}", role=role)
    return [[e.id, e.text, e.label, e.summary] for e in found]
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
    assert said.startswith("data.train: 'alice/nothing' is no file or folder here")
    said = author.run(code, none, spec="hub://alice/hidden", role="train").result
    assert said.startswith("data.train: 'alice/hidden' is no file or folder here")
    owner = {"HF_TOKEN": TOKEN}
    assert author.run(code, owner, spec="hub://alice/hidden", role="train").result == expected[:6]


def test_the_tokenizer_of_a_page_is_the_models(hub, author, stranger, copy) -> None:
    assert author.push(copy, "--repo", "alice/tokens").result == 0
    code = """
from transformers import AutoProcessor
processor = AutoProcessor.from_pretrained("alice/tokens", trust_remote_code=True)
result = [processor.tokenizer(texts)["input_ids"], processor(texts)["input_ids"].tolist()]
"""
    ids, _ = stranger.run(code, texts=TEXTS).result
    assert ids == AutoTokenizer.from_pretrained(copy)(TEXTS)["input_ids"]
