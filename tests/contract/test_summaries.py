"""Summaries keep their word: no limit is passed, nothing is said twice, references may be many."""

import csv
import json
import random
from typing import Any

import pytest
from commands import read_jsonl, run, succeed, write_jsonl
from rouge_score.rouge_scorer import RougeScorer
from small_models import save_model

import hierbert

RUN_ON = " ".join(random.Random(0).choices(["we", "went", "on,", "they", "say", "it"], k=1600))
CHINESE = "".join(random.Random(1).choices("的一是不了人我在有他这", k=900))
LONG = {
    "transcript": RUN_ON,
    "chinese": CHINESE,
    "mixed": f"{RUN_ON}. A short sentence of seven words stands here.",
    "one word": "x" * 300,
    "list": ", ".join(["an item of the list"] * 60),
}


@pytest.fixture(scope="module")
def predictor(models):
    return hierbert.HierBert.from_pretrained(models["both"])


def words(text: str) -> int:
    return sum(len(line) if line[:1] in CHINESE else len(line.split()) for line in text.split("\n"))


@pytest.mark.parametrize(
    ("limit", "size"),
    [
        ({"max_words": 50}, words),
        ({"max_words": 1}, words),
        ({"max_characters": 400}, len),
        ({"max_sentences": 2}, lambda text: len(text.split("\n"))),
        ({"ratio": 0.05}, lambda text: words(text) * 20 / 1600),
    ],
)
def test_no_limit_is_passed(predictor, limit, size) -> None:
    most = max(1, *limit.values())
    for text in LONG.values():
        (answer,) = predictor.summarize(text, **limit)
        assert 0 < size(answer.summary) <= most
        assert answer.over_limit is None
        for sentence in answer.sentences:
            assert text[sentence.start : sentence.end] == sentence.text


HEADED = {
    "heading": "INTRODUCTION TO THE LAW OF THE COURT OF MEN\n\n",
    "code": "```\nfor word in words: print(word, end=word, file=words)\n```\n\n",
    "table": "| cell one two | three four five six | seven eight nine ten |\n\n",
}


@pytest.mark.parametrize("above", HEADED)
@pytest.mark.parametrize("limit", [{"max_words": 3}, {"max_words": 1}, {"ratio": 0.1}])
def test_a_limit_of_few_words_is_kept_by_prose_in_pieces(predictor, above, limit) -> None:
    prose = "The old man went to the court with a cat and a dog and he slept."
    text = HEADED[above] + prose
    (answer,) = predictor.summarize(text, **limit)
    assert answer.over_limit is None and answer.summary in prose
    assert 1 <= words(answer.summary) <= max(1, limit.get("max_words", words(text) // 10))


@pytest.mark.parametrize("most", [3, 20, 60])
@pytest.mark.parametrize(
    "text", ["他说今天天气很好我们去公园玩" * 40, "the court of law and a film " * 100]
)
def test_a_limit_of_tokens_counts_bytes_and_spaces(encoders, tmp_path, text, most) -> None:
    folder = save_model(tmp_path, encoders["roberta"])
    made = hierbert.HierBert.from_pretrained(folder)
    (answer,) = made.summarize(text, max_tokens=most)
    tokenizer = made.processor.tokenizer
    pieces = [text[s.start : s.end] for s in answer.sentences]
    count = sum(len(tokenizer(one, add_special_tokens=False).input_ids) for one in pieces)
    assert answer.over_limit is None and most / 3 <= count <= most


def test_a_limit_of_tokens_counts_those_of_the_document(predictor) -> None:
    tokenizer = predictor.processor.tokenizer
    for name in ("transcript", "chinese", "list"):
        (answer,) = predictor.summarize(LONG[name], max_tokens=40)
        ids = [tokenizer(s.text, add_special_tokens=False).input_ids for s in answer.sentences]
        assert 20 < sum(map(len, ids)) <= 40


def test_a_cut_is_after_a_clause_or_between_words(predictor) -> None:
    (answer,) = predictor.summarize(RUN_ON, max_words=50)
    (sentence,) = answer.sentences
    end = sentence.end
    assert RUN_ON[end : end + 1] in ("", " ") and sentence.text.endswith(",")
    plain = RUN_ON.replace(",", "")
    (answer,) = predictor.summarize(plain, max_words=50)
    (sentence,) = answer.sentences
    assert len(sentence.text.split()) == 50
    assert plain[sentence.end] == " "


def test_what_no_limit_can_hold_is_said_in_the_row_and_counted(models, tmp_path) -> None:
    rows = [{"id": "a", "text": "x" * 300}, {"id": "b", "text": "It is fine. So be it."}]
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    for ending in ("jsonl", "csv", "parquet"):
        output = tmp_path / f"out.{ending}"
        done = run(
            "infer.py", "--model", models["both"], "--input", docs, "--output", output,
            "--task", "summarize", "--max-characters", "20", here=True,
        )  # fmt: skip
        assert done.returncode == 0
        assert "longer than their limit" in done.stderr and ": 1 (see `over_limit`" in done.stderr
    long, fits = read_jsonl(tmp_path / "out.jsonl")
    assert long["over_limit"] is True and long["summary"] == "x" * 300
    assert "over_limit" not in fits
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["over_limit"] for row in csv.DictReader(file)] == ["True", ""]


@pytest.mark.parametrize("settings", [{}, {"redundancy": 0.3}, {"order": "score"}])
def test_nothing_is_said_twice(predictor, settings) -> None:
    three = [
        "The cat sat on the red mat.",
        "A dog ran in the old park!",
        "Nobody knew why it was so.",
    ]
    (answer,) = predictor.summarize(" ".join(three * 8), max_sentences=3, **settings)
    assert sorted(answer.summary.split("\n")) == sorted(three)
    # Also where case, white space and punctuation differ, and where only three can be had.
    other = ["THE CAT sat  on the red mat!", *three, "A DOG ran in the old -  park..."]
    (answer,) = predictor.summarize(" ".join(other), max_sentences=5, **settings)
    assert len(answer.sentences) == 3


def test_headers_of_pages_are_one_and_figures_are_several(predictor) -> None:
    body = [
        f"What stands on page {n} is of its own kind entirely {'so ' * n}." for n in range(1, 5)
    ]
    pages = "\n\n".join(
        f"Annual Report of the Company, page {n}\n\n{t}" for n, t in enumerate(body, 1)
    )
    (answer,) = predictor.summarize(pages, max_sentences=50, min_words_per_sentence=0)
    # They are no prose, and so no part of a summary where there is some.
    assert sum("Annual Report" in sentence.text for sentence in answer.sentences) == 0
    assert sum("its own kind" in sentence.text for sentence in answer.sentences) == 4
    # Nor where no sentence is as long as it should be.
    (answer,) = predictor.summarize(pages, max_sentences=1, min_words_per_sentence=50)
    assert "Annual Report" not in answer.summary
    headers = "\n\n".join(f"Annual Report of the Company, page {n}" for n in range(1, 5))
    (answer,) = predictor.summarize(headers, max_sentences=50, min_words_per_sentence=0)
    assert len(answer.sentences) == 1
    figures = "Sales were 5 million in 2019. Sales were 7 million in 2020."
    (answer,) = predictor.summarize(figures, max_sentences=5)
    assert len(answer.sentences) == 2


def test_the_ratio_one_is_the_whole_document(predictor) -> None:
    text = "It is so. It is so. The long sentence of the two stands here at the end. No. 12"
    (answer,) = predictor.summarize(text, ratio=1.0, min_words_per_sentence=5)
    assert answer.summary.replace("\n", " ") == text


def test_short_sentences_are_left_out_when_asked(models, tmp_path) -> None:
    text = "It is so. The long sentence of the two stands here. No."
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"id": "a", "text": text}])
    for least, count in ((0, 3), (3, 2), (5, 1), (50, 3)):
        output = tmp_path / f"{least}.jsonl"
        succeed(
            "infer.py", "--model", models["both"], "--input", docs, "--output", output,
            "--task", "summarize", "--min-words-per-sentence", str(least), here=True,
        )  # fmt: skip
        (row,) = read_jsonl(output)
        assert len(row["sentences"]) == count
    refused = run("infer.py", "--model", models["both"], "--input", docs, "--output", "-",
                      "--min-words-per-sentence", "-1", here=True)  # fmt: skip
    assert refused.returncode == 2 and "'-1' is not allowed" in refused.stderr


def summary_rows(alternatives: bool) -> list[dict[str, Any]]:
    rows = []
    for number in range(12):
        sentences = [
            f"The {word} of {number} was seen here." for word in ("cat", "dog", "fox", "owl")
        ]
        references: Any = [sentences[2], "Nothing of the kind is in the text at all."]
        rows.append(
            {
                "id": str(number),
                "text": " ".join(sentences),
                "summary": references if alternatives else sentences[2],
            }
        )
    return rows


def test_the_best_of_several_references_counts(models) -> None:
    predictor = hierbert.HierBert.from_pretrained(models["summaries"])
    rows = summary_rows(alternatives=True)
    summaries = [one.summary for one in predictor.summarize([row["text"] for row in rows])]
    kinds = ("rouge1", "rouge2", "rougeL", "rougeLsum")
    scorer = RougeScorer(kinds, use_stemmer=True)
    expected = [
        scorer.score_multi(row["summary"], summary)
        for row, summary in zip(rows, summaries, strict=True)
    ]
    # A reference may be a list of its sentences, and one alone is as good as a text.
    rows[0]["summary"] = [[reference] for reference in rows[0]["summary"]]
    scores = predictor.evaluate(rows, summary_column="summary")
    for kind in kinds:
        mean = sum(one[kind].fmeasure for one in expected) / len(rows)
        assert scores[kind] == pytest.approx(mean, abs=1e-9)
    # A cell of text may spell them.
    spelled = [dict(row, summary=json.dumps(row["summary"])) for row in summary_rows(True)]
    assert predictor.evaluate(spelled, summary_column="summary") == scores
    one = predictor.evaluate(summary_rows(alternatives=False), summary_column="summary")
    assert one["rouge1"] <= scores["rouge1"]


def test_training_says_that_there_are_several_references(encoders, tmp_path) -> None:
    docs = write_jsonl(tmp_path / "docs.jsonl", summary_rows(alternatives=True))
    done = succeed(
        "train.py", f"data.train={docs}", "data.summary_column=summary",
        f"model.encoder={encoders['bert']}", f"run_dir={tmp_path / 'run'}", "training.epochs=1",
        "model.aggregator_layers=1", "summary.max_sentences=1", here=True,
    )  # fmt: skip
    assert "with several references (the best one counts)" in done.stderr
    results = json.loads((tmp_path / "run/results.json").read_text())
    # The oracle finds the reference that is a sentence of the text.
    assert results["summaries"]["systems"]["Oracle"]["rouge1"]["mean"] == pytest.approx(1)


@pytest.mark.parametrize("wrong", [("--ratio", "1.5"), ("--redundancy", "2")])
def test_what_a_summary_cannot_be_is_refused_before_anything_is_read(tmp_path, wrong) -> None:
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"text": "It is so."}])
    refused = run("infer.py", "--model", "none", "--input", docs, "--output", "-",
                  *wrong, here=True)  # fmt: skip
    assert refused.returncode == 2 and "checking" not in refused.stderr
    assert f"argument {wrong[0]}: '{wrong[1]}' is not allowed: a number" in refused.stderr
