"""Words beside vectors: what a run learns of them, says of them, and leaves out where asked."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from commands import read_jsonl, succeed, write_jsonl
from small_runs import results_of

FILLER = ["the", "of", "a", "day", "when", "it", "was", "said", "that", "they", "all", "stayed"]
DECIDES = {"north": "polar bears", "south": "camel caravans"}


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Documents of which two words decide, somewhere in the middle of others."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        label = draw.choice(list(DECIDES))
        words = draw.choices(FILLER, k=60)
        words.insert(draw.randrange(60), DECIDES[label])
        made.append({"id": str(number), "text": " ".join(words) + ".", "label": label})
    return made


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    for number, (name, count) in enumerate({"train": 40, "validation": 20, "test": 30}.items()):
        write_jsonl(folder / f"{name}.jsonl", rows(count, number))
    return folder


def train(corpus: Path, encoder: Path, name: str, *more: str) -> dict[str, Any]:
    splits = [f"data.{split}={corpus / split}.jsonl" for split in ("train", "validation", "test")]
    succeed(
        "train.py",
        *splits,
        "data.label_column=label",
        f"model.encoder={encoder}",
        "model.aggregator_layers=1",
        "training.epochs=1",
        f"run_dir={corpus / name}",
        *more,
        here=True,
    )
    return results_of(corpus / name)


@pytest.mark.parametrize("frozen", ["true", "false"])
def test_words_decide_where_vectors_know_nothing(corpus, encoders, frozen) -> None:
    name = f"frozen-{frozen}"
    results = train(corpus, encoders["bert"], name, f"training.freeze_encoder={frozen}")
    assert results["scores"]["accuracy"] == 1.0
    members = results["members"]
    assert members["scores"]["words"]["accuracy"] == 1.0
    assert ("vectors" in members["scores"]) == (frozen == "true")
    config = json.loads((corpus / name / "model/config.json").read_text(encoding="utf-8"))
    assert config["logit_weights"] == pytest.approx(members["weights"])
    # The commonest label and bags of words stand beside it.
    assert min(results[name]["accuracy"] for name in ("tfidf_svm", "tfidf_logistic")) >= 0.9
    assert results["majority"]["accuracy"] < 0.8
    assert ("segment_vote" in results) == (frozen == "true")
    answers = corpus / f"{name}.jsonl"
    asked = ["--model", corpus / name / "model", "--input", corpus / "test.jsonl"]
    succeed("infer.py", *asked, "--output", answers, here=True)
    given = {row["id"]: row["label"] for row in read_jsonl(answers)}
    assert given == {row["id"]: row["label"] for row in read_jsonl(corpus / "test.jsonl")}
    # None of its words is in it.
    for file in (corpus / name / "model").iterdir():
        content = file.read_bytes()
        assert b"caravans" not in content, file
    card = corpus / f"{name}.md"
    pushed = ["--repo", "user/name", "--dry-run", "--card-out", card]
    succeed("hierbert-push", corpus / name / "model", *pushed, here=True)
    said = " ".join(card.read_text(encoding="utf-8").split())
    assert ("| Vote of segments |" in said) == (frozen == "true")
    assert "a linear model of its words" in said and "can try out which words" in said


def test_words_can_be_left_out(corpus, encoders) -> None:
    results = train(corpus, encoders["bert"], "without", "model.words=false")
    assert "members" not in results and results["scores"]["accuracy"] < 1.0
    config = json.loads((corpus / "without" / "model/config.json").read_text(encoding="utf-8"))
    assert config["logit_weights"] is None and config["features"] is None


def test_a_model_with_words_goes_on_to_another_question(corpus, encoders) -> None:
    train(corpus, encoders["bert"], "first")
    summaries = [{**row, "summary": row["text"][:40], "label": None} for row in rows(12, 7)]
    path = write_jsonl(corpus / "summaries.jsonl", summaries)
    succeed(
        "train.py",
        f"data.train={path}",
        "data.summary_column=summary",
        f"model.start_from={corpus / 'first' / 'model'}",
        "training.epochs=1",
        "baselines=false",
        f"run_dir={corpus / 'second'}",
        here=True,
    )
    config = json.loads((corpus / "second" / "model/config.json").read_text(encoding="utf-8"))
    assert config["logit_weights"] is None and not config["classification"]
