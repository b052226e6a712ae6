"""A saved model folder: whole by itself, safe to load, read by strangers and later versions."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import ROOT, refuse, succeed, write_jsonl
from conftest import make_rows
from hostile import edit, write
from local_hub import LocalHub
from publishing import USERS, Worker
from safetensors.torch import load_file
from small_models import save_model
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoProcessor,
    pipeline,
)

from hierbert import HierBertForDocuments, HierBertModel, HierBertPredictor

FIXTURES = ROOT / "tests" / "fixtures"
TEXTS = [str(row["text"]) for row in make_rows(5, seed=7, sentences=25)] + ["", "Ünï 😀. 漢字。"]

STRANGER = """
from transformers import AutoModel, AutoModelForSequenceClassification, AutoProcessor, pipeline
trust = {"trust_remote_code": True}
processor = AutoProcessor.from_pretrained(name, **trust)
model = AutoModelForSequenceClassification.from_pretrained(name, **trust)
base = AutoModel.from_pretrained(name, **trust)
output = model.eval()(**processor(texts))
result = {
    "logits": output.logits.tolist(),
    "scores": output.sentence_scores.tolist(),
    "vectors": base.eval()(**processor(texts)).document_vectors.tolist(),
    "labels": pipeline("document-classification", model=name, **trust)(texts),
    "summaries": pipeline("document-summarization", model=name, **trust)(texts),
}
"""


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A process in which hierbert cannot be imported."""
    home = tmp_path_factory.mktemp("stranger")
    with LocalHub(USERS) as hub, Worker(home, hub, hierbert=False) as worker:
        yield worker


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def test_a_trained_folder_holds_all_that_a_stranger_needs(trained) -> None:
    names = {path.name for path in trained.iterdir()}
    data = {"config.json", "model.safetensors", "processor_config.json"}
    data |= {"tokenizer.json", "tokenizer_config.json"}
    assert names >= data and {Path(name).suffix for name in names - data} == {".py"}
    config = json.loads((trained / "config.json").read_text(encoding="utf-8"))
    expected = {
        "model_type": "hierbert",
        "architectures": ["HierBertForDocuments"],
        "classification": True,
        "summarization": True,
        "problem_type": "single_label_classification",
        "id2label": {"0": "film", "1": "law"},
        "max_tokens_per_segment": 32,
        "max_segments": None,
        "pooling": "mean",
        "aggregator_layers": 1,
        "summary_budget": "max_sentences",
        "summary_limit": 2.0,
        "dtype": "float32",
    }
    assert expected.items() <= config.items()
    assert config["text_config"]["model_type"] == "bert"
    autos = {"AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoProcessor"}
    assert config["auto_map"].keys() == autos
    tasks = {"document-classification", "document-summarization"}
    assert config["custom_pipelines"].keys() == tasks | {"text-classification"}
    targets = [*config["auto_map"].values()]
    targets += [pipe["impl"] for pipe in config["custom_pipelines"].values()]
    assert {f"{target.split('.')[0]}.py" for target in targets} <= names
    # Nothing of this machine is in it.
    for name in names:
        assert str(trained.parent.parent).encode() not in (trained / name).read_bytes(), name


@pytest.fixture(params=["trained", "LexRank"])
def whole(request, trained: Path, encoders: dict[str, Path], tmp_path: Path) -> Path:
    """Folders of a model that was trained, and of one that training gained nothing for."""
    if request.param == "trained":
        return trained
    lexrank = {"features": {"central_words": {}}, "sentence_weights": {"central_words": 1.0}}
    return save_model(tmp_path / "lexrank", encoders["bert"], **lexrank)


def test_a_stranger_without_hierbert_gets_the_same_answers(stranger, whole, tmp_path) -> None:
    mine = HierBertPredictor.from_pretrained(whole, device="cpu")
    with torch.no_grad():
        output = mine.model(**mine.processor(TEXTS))
    answers = list(mine.predict(TEXTS, mine.tasks))
    # Elsewhere, where nothing of the run lies beside it.
    folder = shutil.copytree(whole, tmp_path / "elsewhere")
    found = stranger.run(STRANGER, name=str(folder), texts=TEXTS).result
    for name, own in (
        ("logits", output.logits),
        ("scores", output.sentence_scores),
        ("vectors", torch.tensor([answer.document_vector for answer in answers])),
    ):
        assert torch.allclose(torch.tensor(found[name]), own, rtol=0, atol=1e-5), name
    # But for texts of which it knows no word, answers differ.
    different = {tuple(answer.probabilities.values()) for answer in answers}
    assert len(different) >= len(TEXTS) - 1
    for label, summary, own in zip(found["labels"], found["summaries"], answers, strict=True):
        assert label["label"] == own.label
        assert label["probabilities"] == pytest.approx(own.probabilities, abs=1e-5)
        assert summary["summary"] == own.summary
        places = [(row["text"], row["start"], row["end"]) for row in summary["sentences"]]
        assert places == [(row.text, row.start, row.end) for row in own.sentences]
    with pytest.raises(AssertionError, match="hierbert is not installed here"):
        stranger.run("import hierbert")


@pytest.mark.parametrize("name", ["first_format", "trained_format"])
def test_folders_of_before_give_the_answers_of_before(name, tmp_path) -> None:
    """`first_format` is what 0.1.0 saved first, `trained_format` what its training left later."""
    folder = FIXTURES / name
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    texts = [row["text"] for row in expected]
    predictor = HierBertPredictor.from_pretrained(folder, device="cpu")
    answers = list(predictor.predict(texts, predictor.tasks))
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"text": text} for text in texts])
    done = succeed("infer.py", "--model", folder, "--input", docs, "--output", "-", here=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    parts = {"model": predictor.model, "processor": predictor.processor}
    labels = pipeline("document-classification", **parts)(texts)
    for row, answer, label, wanted in zip(rows, answers, labels, expected, strict=True):
        for key in ("label", "labels", "summary"):
            if key in wanted:
                assert row[key] == getattr(answer, key) == wanted[key]
        for shares in (row["probabilities"], answer.probabilities, label["probabilities"]):
            assert shares == pytest.approx(wanted["probabilities"], abs=1e-5)
        places = [[start, end, pytest.approx(score, abs=1e-5)]
                  for start, end, score in wanted["sentences"]]  # fmt: skip
        assert [[s.start, s.end, s.score] for s in answer.sentences] == places
        assert [[s["start"], s["end"], s["score"]] for s in row["sentences"]] == places
        if "document_vector" in wanted:
            assert answer.document_vector == pytest.approx(wanted["document_vector"], abs=1e-4)
            omitted = answer.omission.segments if answer.omission else 0
            assert omitted == row.get("omission", {"segments": 0})["segments"]
            assert omitted == wanted["omitted_segments"]


class _Bomb:
    """Unpickling this fails the test."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a pickle was opened",)


def test_no_way_of_loading_opens_a_pickle(copy, tmp_path) -> None:
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "training_args.bin", "model.pkl"):
        torch.save({"weights": weights, "bomb": _Bomb()}, copy / name)
    for kind in (
        AutoModel,
        AutoModelForSequenceClassification,
        HierBertForDocuments,
        HierBertModel,
    ):
        with pytest.raises(OSError, match="safetensors"):
            kind.from_pretrained(copy)
    with pytest.raises(Exception, match="safetensors") as caught:
        HierBertPredictor.from_pretrained(copy)
    assert "\n" not in str(caught.value) and str(copy) in str(caught.value)
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"text": "A cat."}])
    arguments = ("--model", copy, "--input", docs, "--output", "-")
    assert str(copy) in refuse("infer.py", *arguments, here=True)
    assert str(copy) in refuse("hierbert-push", copy, "--repo", "a/b", "--dry-run", here=True)
    # Beside whole weights it is not looked at.
    whole = Path(shutil.copytree(FIXTURES / "first_format", tmp_path / "whole"))
    torch.save(_Bomb(), whole / "pytorch_model.bin")
    assert HierBertPredictor.from_pretrained(whole).classify("A cat.")


def test_nothing_of_a_folder_runs_that_was_not_asked_for(copy, tmp_path, monkeypatch) -> None:
    ran = tmp_path / "ran"
    for path in copy.glob("*.py"):
        path.write_text(f"open({str(ran)!r}, 'w').close()\n")
    # Nobody is asked at the terminal either.
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question at the terminal"))
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"text": "A cat."}])
    predictor = HierBertPredictor.from_pretrained(copy, device="cpu")
    assert predictor.classify("A cat.")[0].label
    arguments = ("--model", copy, "--input", docs, "--output", "-")
    assert succeed("infer.py", *arguments, here=True).stdout
    for kind in (AutoModel, AutoModelForSequenceClassification, AutoProcessor):
        assert kind.from_pretrained(copy, trust_remote_code=False)
    with contextlib.suppress(ValueError):  # transformers wants to be asked for the folder's own
        pipeline("document-summarization", model=str(copy), trust_remote_code=False)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (shutil.rmtree, []),
        (lambda folder: (folder / "config.json").unlink(), ["config.json"]),
        (write("config.json", '{"model_type": '), ["config.json"]),
        (write("config.json", "[1]"), ["config.json"]),
        (edit(model_type="bert"), ["bert"]),
        (edit(pooling="medial"), ["pooling", "medial", "mean", "attention"]),
        (edit(text_config={"model_type": "nosuch"}), ["nosuch"]),
        (lambda folder: (folder / "model.safetensors").unlink(), ["safetensors"]),
        (edit(sentence_layers=2), ["weights"]),
        (
            edit(id2label={n: n for n in "012"}, label2id={n: int(n) for n in "012"}),
            ["words is of 2 labels", "3 labels"],
        ),
        (lambda folder: (folder / "tokenizer.json").unlink(), ["tokenizer"]),
    ],
)
def test_a_damaged_folder_is_one_line_that_names_it(copy, tmp_path, damage, told) -> None:
    damage(copy)
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"text": "A cat."}])
    arguments = ("--model", copy, "--input", docs, "--output", tmp_path / "o.jsonl")
    error = refuse("infer.py", *arguments, here=True)
    assert all(word in error for word in (str(copy), *told)), error
    assert not (tmp_path / "o.jsonl").exists()
