"""A report of what was found, whatever that is: figures by hand, text that stays text."""

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hierbert.errors import RunError
from hierbert.reporting import charts
from hierbert.reporting.blocks import Chart, Note, Section, Table
from hierbert.reporting.found import Found, read_found
from hierbert.reporting.markdown import render_markdown
from hierbert.reporting.page import render_html
from hierbert.reporting.report import make_sections, report_folder, write_report
from hierbert.scoring.answers import task_answers

HOSTILE = "<script>alert('x')</script> $a_1$ |\n\x00\ud800\uffff \u202e\"&amp;"
# Of one label a document, as a run of two epochs has it.
RESULTS: dict[str, Any] = {
    "split": "test",
    "documents": 40,
    "seed": 0,
    "epochs": 2,
    "steps": 6,
    "best_step": 3,
    "scores": {"accuracy": 0.8, "macro_f1": 0.7, "micro_f1": 0.8, "ece": 0.1, "loss": 0.4},
    "intervals": {"accuracy": {"low": 0.7, "high": 0.9}, "macro_f1": {"low": 0.6, "high": 0.8}},
    "majority": {"accuracy": 0.5, "macro_f1": 0.3, "micro_f1": 0.5},
    "gain": {"majority": {"accuracy": {"mean": 0.3, "low": 0.1, "high": 0.5, "p": 0.01}}},
    "per_label": {
        "labels": [
            {
                "label": name,
                **dict.fromkeys(("precision", "recall", "f1"), 0.8),
                **dict.fromkeys(("support", "predicted"), 20),
            }
            for name in ("law", HOSTILE)
        ],
        "confusion": [[15, 5], [3, 17]],
    },
    "reliability": [{"count": 40, "claimed": 0.75, "true": 0.8}],
    "risk_coverage": {
        "area": 0.1,
        "points": [
            {"coverage": 0.5, "confidence": 0.9, "risk": 0.1},
            {"coverage": 1.0, "confidence": 0.5, "risk": 0.2},
        ],
    },
    "lengths": {
        "test": dict.fromkeys(
            ("documents", "median_tokens", "p90_tokens", "longest_tokens", "tokens"), 40
        )
    },
    "length_histogram": {"from": [0, 65], "to": [64, None], "splits": {"test": [30, 10]}},
    "slices": {
        "length": [
            {
                "from_tokens": start,
                "to_tokens": None,
                "documents": 20,
                "scores": {"accuracy": 0.8, "macro_f1": 0.7, "micro_f1": 0.8},
                "intervals": {"accuracy": {"low": 0.7, "high": 0.9}},
            }
            for start in (0, 513)
        ],
        "columns": {},
    },
    "resources": {"device": "CPU", "course": [{"step": 3, "memory_mib": 100.0}]},
    "environment": {"torch": "2"},
}
LINES = [
    {
        "step": step,
        "train.loss": 1 / step,
        "train.learning_rate": 0.1,
        "validation.loss": 0.5,
        "validation.accuracy": 0.8,
    }
    for step in (3, 6)
]
MISTAKES = [
    {"id": HOSTILE, "true": "law", "answer": HOSTILE, "probability": 0.9, "excerpt": HOSTILE}
]


def found(**changed: Any) -> Found:
    """What such a run has found, with other results where some are given."""
    rows = [
        {"id": str(n), "classification": {"true": "a", "hierbert": "a", "majority": "b"}}
        for n in range(4)
    ]
    results = {**copy.deepcopy(RESULTS), **changed}
    return Found(HOSTILE, results, LINES, task_answers(rows), {"mistakes": MISTAKES})


def section(of: Found, title: str) -> Section:
    return next(one for one in make_sections(of) if one.title == title)


def words(of: Section) -> str:
    """All text of a section."""
    return render_markdown("", [of])


class Page(HTMLParser):
    """Tags of a page, its ids, and text outside of styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [str(value) for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_every_section_is_drawn_and_the_page_is_whole_and_small() -> None:
    sections = make_sections(found())
    titles = [one.title for one in sections]
    assert titles == [
        "At a glance",
        "Scores",
        "Training",
        "Labels",
        "Probabilities",
        "Risk and coverage",
        "Lengths and parts",
        "The surest mistakes",
        "Machine",
    ]
    page = render_html("Report", "", sections)
    assert "cannot be told" not in page and len(page) < 300_000
    read = Page(page)
    assert "script" not in read.tags and "metadata" not in read.tags
    assert len(set(read.ids)) == len(read.ids)
    pictures = sum(isinstance(block, Chart) for one in sections for block in one.blocks)
    assert read.tags.count("svg") == pictures == read.tags.count("desc") > 5
    # Nothing is loaded, and nothing refers to what is not there.
    assert not re.search(r"(src|href)=\"(?!#)", page) and "<!DOCTYPE svg" not in page
    referred = set(re.findall(r"(?:href=\"|url\()#([\w.-]+)", page))
    assert referred <= set(read.ids)


def test_text_of_charts_stays_text_and_hostile_names_are_shown_as_they_are() -> None:
    chart = charts.bars(
        HOSTILE, HOSTILE, [HOSTILE, "law"], {"one": [1, 2], "$x$": [2, 1]}, HOSTILE, "y"
    )
    drawn = charts.svg(chart, "c")
    read = Page(drawn)
    assert "script" not in read.tags and "&lt;script&gt;" in drawn
    assert {"law", "one", "$x$"} <= set(read.text)
    # Colours are the page's; matplotlib's own would be lost on a dark one.
    assert "currentColor" in drawn and "var(--hue-0)" in drawn
    assert not re.search(r"#0[0-9]0[0-9]", drawn) and "fill: #ffffff" not in drawn


def test_the_same_figures_give_the_same_bytes() -> None:
    series = {name: ([1, 2, 3], [0.1, 0.3, 0.2]) for name in "ab"}
    first, second = (
        charts.svg(charts.lines("T", "D", series, "x", "y", unit=True, best=2), "c")
        for _ in range(2)
    )
    assert first == second and first.startswith("<svg")


def test_scores_stand_beside_baselines_with_intervals() -> None:
    table = section(found(), "Scores").blocks[0]
    assert isinstance(table, Table)
    assert table.head == ["Labels, x 100", "Accuracy", "Macro-F1"]
    assert [row[0] for row in table.rows] == ["Majority class", "hierbert"]
    assert table.rows[1][1] == "80.0 (70.0 to 90.0)" and table.strong == [1]
    # Of the four answers of answers.jsonl, the baseline has none right.
    assert table.rows[0][1] == "50.0 (0.0 to 0.0)"
    assert "+30.0 (+10.0 to +50.0) | 0.010" in " ".join(words(section(found(), "Scores")).split())


def test_a_confusion_matrix_is_shaded_by_rows_and_many_labels_give_pairs() -> None:
    matrix = section(found(), "Labels").blocks[-1]
    assert isinstance(matrix, Table)
    assert [row[1:] for row in matrix.rows] == [["15", "5"], ["3", "17"]]
    assert matrix.shades == [[0.75, 0.25], [0.15, 0.85]]
    count = 300
    confusion = [[0] * count for _ in range(count)]
    confusion[7][9], confusion[7][7], confusion[1][2], confusion[2][2] = 6, 2, 6, 100
    rows = [
        {"label": f"l{n}", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": n, "predicted": 0}
        for n in range(count)
    ]
    many = found(per_label={"labels": rows, "confusion": confusion})
    pairs = section(many, "Labels").blocks[-1]
    assert isinstance(pairs, Table)
    assert pairs.rows == [["l1", "l2", "6", "100.0"], ["l7", "l9", "6", "75.0"]]
    labels = section(many, "Labels").blocks[0]
    assert isinstance(labels, Table)
    assert len(labels.rows) == 100 and labels.rows[0][0] == "l299"
    assert len(render_html("R", "", [section(many, "Labels")])) < 300_000


def test_what_the_data_did_not_allow_is_said() -> None:
    one = copy.deepcopy(RESULTS["per_label"])
    one["labels"][1]["support"] = 0
    few = found(split="validation", documents=3, per_label=one)
    told = words(section(few, "At a glance"))
    assert "no test documents" in told and "Only 3 documents" in told and "One label alone" in told
    unlabelled = found(scores={"loss": 0.0}, summaries={"leaks": {"documents": 2}})
    told = words(section(unlabelled, "At a glance"))
    assert "No scored document" in told and "2 of the texts hold" in told
    nothing = found(precision_recall={})
    assert "No label applies" in words(section(nothing, "Precision and recall"))
    alone = Found("r", RESULTS, LINES[:1], {}, {})
    assert "one evaluation" in words(section(alone, "Training"))
    assert "The surest mistakes" not in [one.title for one in make_sections(alone)]


def test_what_is_told_of_summaries() -> None:
    row = {"places": [1] * 9 + [11], "sentences": 2.0, "words": 30.0, "redundancy": 0.02}
    picks = {"systems": {"hierbert": row, "Oracle": row}, "shared": {"precision": 0.3}}
    picks["references"], picks["shared"]["recall"] = {"words": 9.0, "redundancy": 0.0}, 0.2
    part = {"part": "first third", "documents": 5, "score": 0.4, "low": 0.3, "high": 0.5}
    few = {**part, "documents": 1, "score": 0.2, "low": 0.2, "high": 0.2}
    places = {"what": "By.", "metric": "rouge1", "parts": [part, few]}
    told = words(section(found(picks=picks), "Picked sentences"))
    # Of 20 sentences, 11 are from the last tenth.
    assert "| 90 to 100 % | 55 | 55 |" in " ".join(told.split())
    assert "Of the model's sentences 30 % are the oracle's, of the oracle's 20 %" in told
    told = words(section(found(evidence_places=places), "Where the evidence lies"))
    assert "| first third" in told and "40.0 (30.0 to 50.0)" in told and "20.0 (-)" in told


def test_parts_of_the_model_have_intervals_where_the_run_made_some() -> None:
    alone = {"words": {"accuracy": 0.6}, "vectors": {"accuracy": 0.5}}
    ends = {"words": {"accuracy": {"low": 0.25, "high": 0.75}}}
    for kept, shown in (({}, "60.0 "), ({"intervals": ends}, "60.0 (25.0 to 75.0)")):
        told = words(section(found(members={"scores": alone, **kept}), "Scores"))
        assert re.search(rf"\| words alone +\| +{re.escape(shown)}", told), told
        assert re.search(r"\| vectors alone +\| +50.0 ", told)


def test_labels_by_where_their_evidence_lies() -> None:
    rows = [
        {**row, "part": part}
        for part, row in zip(
            ("first third", "last third"), RESULTS["slices"]["length"], strict=True
        )
    ]
    slices = {**RESULTS["slices"], "evidence": {"classification": rows}}
    told = words(section(found(slices=slices), "Where the evidence lies"))
    assert re.search(r"\| first third +\| +20 \| +80.0 \(70.0 to 90.0\) \|", told)
    assert "| last third" in told and "at most 200" in told


def test_excerpts_are_left_out_where_that_is_set() -> None:
    own = found()
    without = Found("r", RESULTS, LINES, own.answers, own.examples, None, "Left out, as was set.")
    shown = section(without, "The surest mistakes").blocks
    assert isinstance(shown[0], Note) and isinstance(shown[1], Table)
    assert len(shown[1].head) == 4
    examples = {
        "summaries": [
            {
                "which": "Best",
                "id": "d",
                "metric": "ROUGE-1",
                "score": 0.5,
                "summary": "mine",
                "references": ["theirs"],
            }
        ]
    }
    full = Found("r", RESULTS, LINES, {}, examples)
    assert "> mine" in words(section(full, "Summaries and references"))
    hidden = Found("r", RESULTS, LINES, {}, examples, None, "Left out, as was set.")
    assert "mine" not in words(section(hidden, "Summaries and references"))


def test_results_of_another_form_are_said_not_to_tell() -> None:
    odd = found(per_label={"labels": 3}, risk_coverage=[1], slices={"length": [{}, {}]})
    assert render_markdown("R", make_sections(odd)).count("cannot be told") >= 3


def test_markdown_has_one_line_a_row_of_as_many_cells() -> None:
    text = render_markdown(HOSTILE, make_sections(found()))
    assert "<script" not in text and "\x00" not in text
    head = ""
    for line in text.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line))
        if line.startswith("|"):
            assert cells == len(re.findall(r"(?<!\\)\|", head or line)), line
            head = head or line
        else:
            head = ""


def test_a_report_that_cannot_be_written_or_drawn_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))

    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    def broken(*given: Any) -> None:
        raise RuntimeError("of a library")

    for name, fault in (("write_text", full), ("render_html", broken)):
        with monkeypatch.context() as patch:
            patch.setattr(f"hierbert.reporting.report.{name}", fault)
            report_folder(tmp_path, "full", {})
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 2 and "No space left" in lines[0] and "RuntimeError" in lines[1]
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    report_folder(tmp_path, "none", {})
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.json", "{"),
        ("results.json", "[]"),
        ("results.json", "{}"),
        ("results.json", '{"scores": 1}'),
        ("answers.jsonl", "[1]"),
        ("answers.jsonl", '{"id": 3}'),
        ("metrics.jsonl", "{"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    (tmp_path / name).write_text(content)
    with pytest.raises(RunError, match=name) as refused:
        read_found(tmp_path)
    assert "\n" not in str(refused.value)


def test_settings_that_are_the_defaults_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    resolved = "seed: 0\ntraining:\n  epochs: 7\nsummary:\n  max_words: {}\n"
    for words, told in ((100, False), (99, True), ("null", False)):
        (tmp_path / "config.resolved.yaml").write_text(resolved.format(words))
        write_report(tmp_path, read_found(tmp_path))
        text = (tmp_path / "report.md").read_text()
        assert re.search(r"training\.epochs +\| 7", text) and "| seed " not in text
        # A run that sets no limit has this one filled in.
        assert ("summary.max\\_words" in text) is told, words


def test_a_part_of_few_documents_has_no_interval() -> None:
    slices = copy.deepcopy(RESULTS["slices"])
    slices["length"][1] |= {"documents": 1, "intervals": {"accuracy": {"low": 0.0, "high": 0.0}}}
    for own in ({"accuracy": {"low": 0.0, "high": 0.0}}, {}):
        slices["length"][1]["intervals"] = own
        told = words(section(found(slices=slices), "Lengths and parts"))
        assert re.search(r"from 513 +\| +1 \| +80\.0 \(-\) ", told)
        assert "80.0 (70.0 to 90.0)" in told


def test_parts_by_a_column_have_their_values_names() -> None:
    rows = copy.deepcopy(RESULTS["slices"]["length"])
    own = [
        {**rows[0], **named} for named in ({"value": "news"}, {"rare_values": 3}, {"value": None})
    ]
    told = words(
        section(
            found(slices={**RESULTS["slices"], "columns": {"source": own}}), "Lengths and parts"
        )
    )
    for name in ("source", "news", "(3 rare values)", "(none)"):
        assert name in told
