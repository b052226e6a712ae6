"""Models that are trained with a column of questions, and asked with one or without."""

import csv
import json
import random

import pytest
from commands import read_jsonl, refuse, succeed, write_jsonl

from hierbert import Document, HierBert, HierBertTrainer

TOPICS = [
    "harbour",
    "school",
    "bridge",
    "market",
    "library",
    "hospital",
    "museum",
    "station",
    "theatre",
    "garden",
]
ENDS = (
    "has a new roof since the spring of last year",
    "was closed for want of money and people",
    "will be painted by those who live near it",
    "is where most visitors of the town begin",
)


def made(number: int) -> dict[str, object]:
    drawn = random.Random(number)
    topics = drawn.sample(TOPICS, 8)
    said = [f"The {topic} {drawn.choice(ENDS)}." for topic in topics]
    place = drawn.randrange(8)
    question = f"What happened to the {topics[place]}?"
    return {"text": " ".join(said), "question": question, "summary": said[place]}


@pytest.mark.slow
def test_a_model_learns_what_is_asked(encoders, tmp_path) -> None:
    rows = [made(number) for number in range(60)]
    # Of some nothing is asked.
    rows += [{**made(number), "question": None} for number in range(60, 64)]
    trainer = HierBertTrainer(
        encoders["bert"],
        train=rows[:36] + rows[60:],
        validation=rows[36:60],
        test=[made(number) for number in range(100, 110)],
        config={
            "data.summary_column": "summary",
            "data.columns": {"query": "question"},
            "summary.max_sentences": 1,
            "training.freeze_encoder": True,
            "training.epochs": 1,
            "show_sample": False,
            "run_dir": str(tmp_path / "run"),
        },
    )
    results = trainer.train()
    assert results["sentence_queries"]["with"] > results["sentence_queries"]["without"] + 0.2
    assert results["scores"]["rouge1"] > 0.9
    folder = tmp_path / "run" / "model"
    model = HierBert.from_pretrained(folder)
    new = [made(number) for number in range(200, 210)]
    asked = model.summarize([Document(row["text"], {"query": row["question"]}) for row in new])
    assert [one.summary for one in asked] == [row["summary"] for row in new]
    # Without a question it says the same of a document as of one that has an empty one.
    general = model.summarize([row["text"] for row in new])
    blank = model.summarize([Document(row["text"], {"query": " "}) for row in new])
    assert general == blank
    assert model.evaluate(new, columns={"query": "question"})["rouge1"] == pytest.approx(1)
    file = write_jsonl(tmp_path / "in.jsonl", new)
    out = tmp_path / "out.jsonl"
    command = ["hierbert-infer", "--model", folder, "--input", file, "--output", out]
    succeed(*command, "--column", "query=question", here=True)
    assert [row["summary"] for row in read_jsonl(out)] == [row["summary"] for row in new]


@pytest.mark.slow
def test_a_question_of_all_documents_is_learnt_from_what_people_have_marked(
    encoders, tmp_path
) -> None:
    answers = {"Who?": "Authors wrote it all down.", "When?": "Years went by like that."}

    def rows(first: int, count: int) -> list[dict[str, str]]:
        found = []
        for number in range(first, first + count):
            drawn = random.Random(number)
            sentences = [f"The {drawn.choice(TOPICS)} {drawn.choice(ENDS)}." for _ in range(4)]
            for text in answers.values():
                sentences.insert(drawn.randrange(5), text)
            text = " ".join(sentences)
            for question, answer in answers.items():
                start = text.index(answer)
                spans = json.dumps([[start, start + len(answer)]])
                summary = f"{answer.split()[0]}, people say of it."
                own = {"text": text, "question": question, "spans": spans, "summary": summary}
                found.append(own)
        return found

    for name, first, count in (("train", 0, 24), ("validation", 100, 12), ("test", 200, 6)):
        with open(tmp_path / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["text", "question", "spans", "summary"])
            writer.writeheader()
            writer.writerows(rows(first, count))
    succeed(
        "train.py", f"data.train={tmp_path}/train.csv", "summary.max_sentences=1",
        f"data.validation={tmp_path}/validation.csv", "data.summary_column=summary",
        "data.columns.query=question", "data.columns.spans=spans",
        f"model.encoder={encoders['bert']}", "training.epochs=1",
        "training.freeze_encoder=true", f"run_dir={tmp_path / 'run'}", "baselines=false", here=True,
    )  # fmt: skip
    model = HierBert.from_pretrained(tmp_path / "run" / "model")
    for row in rows(200, 6):
        [found] = model.summarize([Document(row["text"], {"query": row["question"]})])
        assert found.summary == answers[row["question"]]


def test_a_model_that_reads_no_query_refuses_one(trained, tmp_path) -> None:
    file = write_jsonl(tmp_path / "in.jsonl", [{"text": "A text. Another one."}])
    command = ["hierbert-infer", "--model", trained, "--input", file, "--output", "-"]
    line = refuse(*command, "--query", "text", "--task", "summarize", here=True)
    assert "--query" in line and "without queries" in line
