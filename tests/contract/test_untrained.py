"""Summaries without training: `hierbert summarize` and `HierBert.summarizer`."""

import json

import pandas as pd
import pytest
from commands import read_jsonl, refuse, run, succeed, write_jsonl
from transformers import pipeline

import hierbert
from hierbert import HierBert

COMMAND = "hierbert-summarize"
# The third sentence shares words with all others, which share none with each other.
CENTRAL = "The old bridge was closed. Heavy rain flooded streets. The old bridge, heavy rain and a \
new mayor made news today. A new mayor made promises."
BEST = "The old bridge, heavy rain and a new mayor made news today."
ODD = {
    "empty": "",
    "blank": " \n\n\t ",
    "one": "This document has one sentence and nothing else.",
    "alike": "All of these sentences are alike. " * 30,
    "marks": "??? !!! ... ;;;",
    "russian": "Старый мост закрыли вчера. Сильный дождь затопил улицы. Мост и дождь.",
    "chinese": "他说很好。我们走吧。你呢？我们去了那个商店。商店很好。",
    "arabic": "أغلق الجسر القديم أمس. أغرقت الأمطار الشوارع. الجسر القديم والأمطار في الأخبار.",
    "half a pair": "A half \ud800 of a pair stands in here. Nothing else does, and it ends.",
}


@pytest.fixture(scope="module")
def summarizer():
    return HierBert.summarizer()


@pytest.mark.parametrize("method", ["lexrank", "centroid"])
def test_the_most_central_sentence_is_the_summary(method) -> None:
    (answer,) = HierBert.summarizer(method=method).summarize(CENTRAL, max_sentences=1)
    (sentence,) = answer.sentences
    assert answer.summary == BEST and sentence.score == 1
    assert CENTRAL[sentence.start : sentence.end] == BEST


def test_odd_documents_are_answered_and_no_limit_is_passed(summarizer) -> None:
    answers = summarizer.summarize(ODD.values(), max_words=9)
    for (name, text), answer in zip(ODD.items(), answers, strict=True):
        assert bool(answer.summary) == bool(text.strip()), name
        assert all(text[one.start : one.end] == one.text for one in answer.sentences)
        assert all(0 <= one.score <= 1 for one in answer.sentences)
        assert len(answer.summary.split()) <= 9 and answer.over_limit is None
    # What is there over and over is said once.
    assert answers[list(ODD).index("alike")].summary == "All of these sentences are alike."


def test_it_is_a_model_as_any_other(summarizer, tmp_path) -> None:
    summarizer.save_pretrained(tmp_path / "model")
    loaded = HierBert.from_pretrained(tmp_path / "model")
    assert loaded.summarize(CENTRAL, ratio=0.5) == summarizer.summarize(CENTRAL, ratio=0.5)
    scores = loaded.evaluate([{"text": CENTRAL, "summary": BEST}], baselines=False)
    assert 0 < scores["rouge1"] <= 1
    asked = {"query": "harbour walls", "max_sentences": 1}
    pipe = pipeline("document-summarization", model=str(tmp_path / "model"))
    assert pipe(ASKED, **asked)["summary"] == loaded.summarize(ASKED, **asked)[0].summary
    assert loaded.tasks == ("summarize",)
    with pytest.raises(hierbert.ModelError, match="cannot embed"):
        loaded.embed(CENTRAL)


def test_an_encoders_vectors_may_say_what_is_alike(encoders, tmp_path) -> None:
    made = HierBert.summarizer(encoders["bert"], max_tokens_per_segment=64)
    (answer,) = made.predict([CENTRAL], rule={"max_sentences": 2})
    assert len(answer.sentences) == 2 and "embed" in made.tasks
    file = write_jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": CENTRAL}])
    done = succeed(COMMAND, file, "--encoder", encoders["bert"], "--max-sentences", "1", here=True)
    assert json.loads(done.stdout)["summary"] in CENTRAL


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"method": "textrank"}, "lexrank, centroid"),
        ({"revision": "main"}, "revision"),
        ({"max_token_per_segment": 9}, "max_tokens_per_segment"),
        ({"encoder": "./nowhere"}, "nowhere"),
        ({"max_tokens_per_segment": 4}, "max_tokens_per_segment"),
    ],
)
def test_what_cannot_be_is_refused(settings, named) -> None:
    with pytest.raises(hierbert.HierBertError, match=named):
        HierBert.summarizer(**settings)


def test_the_command_answers_files_as_a_trained_model_does(summarizer, tmp_path) -> None:
    texts = {name: text for name, text in ODD.items() if "\ud800" not in text}
    rows = [{"id": name, "text": text, "year": 7} for name, text in texts.items()]
    file = write_jsonl(tmp_path / "in.jsonl", rows)
    asked = ["--max-words", "9", "--keep-columns", "year"]
    done = succeed(COMMAND, file, *asked, here=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    expected = summarizer.summarize(texts.values(), max_words=9)
    assert [one["id"] for one in answers] == list(texts)
    assert [one["summary"] for one in answers] == [one.summary for one in expected]
    assert {one["year"] for one in answers} == {7}
    # A job of shards goes on where it was, and is complete in the end.
    shards = [file, *asked, "--output", tmp_path / "out", "--rows-per-shard", "3"]
    succeed(COMMAND, *shards, here=True)
    assert "complete" in succeed(COMMAND, *shards, "--resume", here=True).stderr
    kept = [row for path in sorted((tmp_path / "out").glob("*.jsonl")) for row in read_jsonl(path)]
    assert kept == answers


def test_what_the_command_cannot_do_is_one_line(tmp_path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    assert "empty.jsonl" in refuse(COMMAND, tmp_path / "empty.jsonl", here=True)
    assert "--dtype needs --encoder" in refuse(COMMAND, "x.jsonl", "--dtype", "int8", here=True)
    assert "--method" in refuse(COMMAND, "x.jsonl", "--method", "lead", here=True)
    broken = tmp_path / "broken.jsonl"
    broken.write_text(json.dumps({"text": CENTRAL}) + '\n{"text": 7}\n')
    done = run(COMMAND, broken, "--output", tmp_path / "o.csv", "--on-error", "skip", here=True)
    assert done.returncode == 3 and "1 rows could not be answered" in done.stderr


ASKED = """The council met on Monday. It spoke of the budget for schools at length. Parents wanted
more teachers. The budget for schools will grow by a tenth. Later the council turned to the harbour.
Its walls are old. Repairs of the harbour walls will begin in May. The meeting ended at nine."""


def test_a_query_asks_for_what_is_near_it(summarizer, tmp_path) -> None:
    def best(query, text=ASKED, **more):
        (answer,) = summarizer.summarize(text, query=query, max_sentences=1, **more)
        return answer

    assert best("When are the harbour walls repaired?").summary.startswith("Repairs of the harbour")
    assert "schools" in best("schools' budget").summary
    # A document's own comes first, and one that is blank is none.
    own = hierbert.Document(ASKED, {"query": "harbour walls"})
    assert "harbour walls" in best("schools", own).summary
    assert "schools" in best("schools", hierbert.Document(ASKED, {"query": " "})).summary
    general = summarizer.summarize(ASKED, max_sentences=1)[0]
    assert general == summarizer.summarize(hierbert.Document(ASKED), max_sentences=1)[0]
    # What no word of is there asks for nothing, and the answer says so.
    for odd in ("Когда ремонт?", "墙", "zebra", "?!"):
        answer = best(odd)
        assert answer.query_unmatched and answer.sentences == general.sentences, odd
    assert best("harbour").query_unmatched is None and general.query_unmatched is None
    for wrong in ("", "  ", 7):
        with pytest.raises(hierbert.ConfigError, match="query"):
            best(wrong)
    texts = [ASKED, hierbert.Document(ASKED, {"query": 7})]
    with pytest.raises(hierbert.DataError, match=r"texts\[1\].*query"):
        summarizer.summarize(texts)
    with pytest.raises(hierbert.ConfigError, match="encoder"):
        HierBert.summarizer(encoder=" ")


def test_the_command_asks_each_document_or_all(summarizer, tmp_path) -> None:
    rows = [
        {"id": "own", "text": ASKED, "question": "harbour walls"},
        {"id": "none", "text": ASKED, "question": None},
        {"id": "other", "text": ASKED, "question": "zebra"},
    ]
    file = write_jsonl(tmp_path / "in.jsonl", rows)
    asked = ["--column", "query=question", "--max-sentences", "1", "--keep-columns", "question"]
    whole = [file, *asked, "--output", tmp_path / "a", "--rows-per-shard", "2"]
    succeed(COMMAND, *whole, "--query", "schools", here=True)
    own, none, other = [
        row for path in sorted((tmp_path / "a").glob("*.jsonl")) for row in read_jsonl(path)
    ]
    assert own["question"] in own["summary"] and "schools" in none["summary"]
    assert other["query_unmatched"] is True and "query_unmatched" not in own
    # Tables have the columns and parts of all rows.
    for ending, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        table = tmp_path / f"a.{ending}"
        succeed(COMMAND, file, *asked, "--sentence-kinds", "--output", table, here=True)
        assert [one is True or one == "True" for one in read(table)["query_unmatched"]] == [
            False, False, True,
        ]  # fmt: skip
    assert read(table)["sentences"][0][0]["kind"] == "prose"
    # A job is of its query.
    assert "query" in refuse(COMMAND, *whole, "--query", "walls", "--resume", here=True)
    assert "--query" in refuse(COMMAND, file, "--query", " ", here=True)
    broken = write_jsonl(tmp_path / "broken.jsonl", [{"text": ASKED, "question": ["a", "b"]}])
    line = refuse(COMMAND, broken, "--column", "query=question", here=True)
    assert "broken.jsonl, line 1" in line and "'question'" in line and "a string" in line
