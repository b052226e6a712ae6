"""Findings of whole corpora that the fixtures do not have, each beside one that lacks it."""

from pathlib import Path
from typing import Any

import pytest
from commands import write_jsonl
from conftest import make_rows, make_tokenizer

from hierbert.checking.checks.labels import Labels
from hierbert.checking.finding import Finding, ranked
from hierbert.checking.reading import look_at
from hierbert.checking.report import make_report
from hierbert.config import RunConfig
from hierbert.log import counted
from hierbert.settings import load_config


def found(
    folder: Path, train: list[dict[str, Any]], *more: str, **splits: list[dict[str, Any]]
) -> dict[str, Finding]:
    """What is found, by name; documents are those of labels unless `more` says otherwise."""
    given = [f"data.train={write_jsonl(folder / 'train.jsonl', train)}", *more]
    for split, rows in splits.items():
        given.append(
            f"data.{split}={write_jsonl(folder / split, rows).rename(folder / f'{split}.jsonl')}"
        )
    if not any(one.startswith("data.summary_column") for one in more):
        given.append("data.label_column=label")
    config = load_config(RunConfig, None, given)
    corpus, checks, findings = look_at(config, make_tokenizer("bert"))
    make_report(corpus, checks, findings)
    return {one.name: one for one in findings}


def rows(count: int, **changed: Any) -> list[dict[str, Any]]:
    return [{**row, **changed} for row in make_rows(count, seed=11, sentences=8)]


def test_one_label_for_nearly_all_is_a_warning(tmp_path) -> None:
    labels = ["a"] * 38 + ["b"] * 2
    skewed = [{**row, "label": label} for row, label in zip(rows(40), labels, strict=True)]
    dev = [{**row, "label": "ab"[n % 2]} for n, row in enumerate(rows(6))]
    name = "one_label_for_nearly_all"
    finding = found(tmp_path, skewed, validation=dev)[name]
    assert "95 %" in finding.message and finding.counts["documents"] == 38
    assert name not in found(tmp_path, rows(40), validation=rows(6))


def test_labels_that_stand_in_the_text_are_given_away(tmp_path) -> None:
    marked = [
        {**row, "label": f"l{n % 2}", "text": f"Group: l{n % 2}. " + rows(1)[0]["text"] + f" {n}"}
        for n, row in enumerate(rows(150))
    ]
    name = "words_give_labels_away"
    assert name in found(tmp_path, marked[:90], validation=marked[90:])
    # The words of these rows tell the first half of a pair from the second.
    unmarked = [{**row, "label": f"l{n // 3 % 2}"} for n, row in enumerate(rows(150))]
    assert name not in found(tmp_path, unmarked[:90], validation=unmarked[90:])


def test_what_max_segments_leaves_out_is_counted(tmp_path) -> None:
    name, more = "cut_by_max_segments", "segmentation.max_tokens_per_segment=32"
    own = rows(30)
    finding = found(tmp_path, own, more, "segmentation.max_segments=1")[name]
    ids = [make_tokenizer("bert")(row["text"])["input_ids"] for row in own]
    over = [len(one) - 32 for one in ids if len(one) > 32]
    assert finding.severity == "warning"
    assert finding.counts["documents"] == len(over) > 20
    assert finding.counts["tokens_unseen"] == sum(over)
    assert name not in found(tmp_path, own, more, "segmentation.max_segments=100000")


def test_letters_that_the_encoder_does_not_know_are_told(tmp_path) -> None:
    russian = [
        {**row, "text": f"Дорога была закрыта {n} раз. " * 6} for n, row in enumerate(rows(30))
    ]
    findings = found(tmp_path, russian)
    assert findings["unknown_tokens"].counts["documents"] == 30
    assert "several_languages" not in findings and "mixed_scripts" not in findings
    assert "unknown_tokens" not in found(tmp_path, rows(30))


def test_references_that_are_about_other_texts_have_a_low_oracle(tmp_path) -> None:
    more = "data.summary_column=summary"
    other = rows(30, summary="Quite unlike anything else one ever heard before, believe me!")
    assert "low_oracle" in found(tmp_path, other, more)
    own = [{**row, "summary": " ".join(row["text"].split()[:40])} for row in rows(30)]
    findings = found(tmp_path, own, more, "summary.max_words=60")
    assert "low_oracle" not in findings
    assert findings["references_in_the_text"].counts["documents"] == 30


@pytest.mark.parametrize(
    "text", ["NÃO É AQUI. ", "Âge d'or. ", "coup d’œil – « oui ». ", "naïve café. ", "a\tb\r\nc\f"]
)
def test_what_is_written_so_is_no_odd_character(tmp_path, text) -> None:
    findings = found(tmp_path, [{**row, "text": row["text"] + " " + text} for row in rows(20)])
    assert not findings.keys() & {"mojibake", "control_characters", "markup"}


def test_one_text_asked_twice_is_no_copy(tmp_path) -> None:
    asked = [{**row, "q": f"Question {n}?"} for row in rows(20) for n in range(2)]
    for number, row in enumerate(asked):
        row["id"] = str(number)
    more = ["data.summary_column=summary", "data.columns={query: q}"]
    findings = found(tmp_path, asked, *more)
    assert not findings.keys() & {"repeated_documents", "near_duplicates"}
    assert "repeated_documents" in found(tmp_path, asked, more[0])


LISTS = [
    (["a", "b"], ["b", "a"], []),
    ("a;b", "b;a", ["data.label_separator=;"]),
    ("a; b", "b;a;b", ["data.label_separator=;"]),
]


@pytest.mark.parametrize(("one", "other", "more"), LISTS)
def test_labels_conflict_where_their_sets_differ(tmp_path, one, other, more) -> None:
    own = rows(20, label=one) + [{**row, "id": f"b{n}"} for n, row in enumerate(rows(4))]
    for row in own[20:]:
        row["label"] = other
    more = ["data.label_type=multi_label", *more]
    dev = rows(24)[20:]
    for row in dev:
        row["label"] = one
    findings = found(tmp_path, own, *more, validation=dev)
    assert "repeated_documents" in findings and "conflicting_labels" not in findings
    own[21]["label"] = ["a"] if isinstance(one, list) else "a"
    finding = found(tmp_path, own, *more, validation=dev)["conflicting_labels"]
    assert finding.counts["documents"] == 2 and "multi_label" not in finding.advice


def test_an_unknown_label_conflicts_with_none(tmp_path) -> None:
    own = [*rows(20), {**rows(1, label=None)[0], "id": "again"}]
    findings = found(tmp_path, own, validation=rows(24)[20:])
    assert "repeated_documents" in findings and "conflicting_labels" not in findings


def test_what_is_said_of_one_document_is_said_of_one(tmp_path) -> None:
    own = rows(20)
    twice = [*own, {**own[3], "id": "again"}]
    message = found(tmp_path, twice, validation=rows(22)[20:])["repeated_documents"].message
    assert message.startswith("1 of 21 train documents stands in its split before")
    assert [counted(n, "note") for n in (0, 1, 2000)] == ["0 notes", "1 note", "2,000 notes"]


def test_many_labels_have_no_linear_baseline_and_it_is_said(tmp_path) -> None:
    own = [{"text": f"Text {n} of some. It is short.", "label": f"l{n % 257}"} for n in range(514)]
    dev = [{"text": f"Other {n} of some. It is so.", "label": f"l{n}"} for n in range(128)]
    findings = found(tmp_path, own, validation=dev)
    assert findings["no_tfidf_logistic_baseline"].counts["labels"] == 257
    lacking = findings["labels_without_documents_in_validation"]
    assert lacking.severity == "warning" and lacking.counts["labels"] == 257 - 128
    most = [row for row in own if int(row["label"][1:]) < 20]
    more = [{**row, "label": f"l{n}"} for n, row in enumerate(dev[:10])]
    findings = found(tmp_path, most, validation=more)
    assert "no_tfidf_logistic_baseline" not in findings
    assert findings["labels_without_documents_in_validation"].severity == "note"


def test_labels_are_shown_as_they_are_but_for_what_orders_a_terminal() -> None:
    labels = Labels(load_config(RunConfig, None, ["data.train=a.jsonl", "data.label_column=b"]))
    names = ["<b>&\"\\'", "a\x1b[2J", "y" * 61]
    shown = [row[0] for row in labels.table({name: {"train": 1} for name in names})]
    assert shown == ["Label", "<b>&\"\\'", "a\\x1b[2J", "y" * 60 + "..."]


def test_the_gravest_comes_first_then_what_makes_scores_wrong() -> None:
    given = [
        Finding("note", "a", "", counts={"documents": 9}),
        Finding("warning", "b", "", counts={"documents": 5}),
        Finding("warning", "c", "", counts={"documents": 1}, weight=3),
        Finding("error", "d", ""),
    ]
    assert [one.name for one in ranked(given)] == ["d", "c", "b", "a"]


def test_a_long_document_is_named_before_it_takes_its_time(tmp_path, caplog, monkeypatch) -> None:
    caplog.set_level("INFO", "hierbert")
    own = rows(3)
    longest = max(own, key=lambda row: len(row["text"]))
    monkeypatch.setattr("hierbert.checking.reading._LONG", len(longest["text"]) - 1)
    found(tmp_path, own)
    place = f"line {own.index(longest) + 1} is of {len(longest['text']):,} characters"
    assert [line for line in caplog.messages if "takes its time" in line and place in line]
    assert sum("takes its time" in line for line in caplog.messages) == sum(
        len(row["text"]) == len(longest["text"]) for row in own
    )
