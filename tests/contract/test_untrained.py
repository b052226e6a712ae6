"""Summaries without training: `hierbert summarize` and `HierBert.summarizer`."""

import json

import pytest
from commands import read_jsonl, refuse, run, succeed, write_jsonl

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
