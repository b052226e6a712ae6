"""Where a summary's sentences were picked, what repeats itself, and references that leak."""

import pytest
from conftest import make_tokenizer

from hierbert import HierBertConfig
from hierbert.model.segmentation import Segmenter
from hierbert.model.selection import Budget
from hierbert.model.summarization_head import SummaryRule
from hierbert.scoring.repetition import copied_share, repeated_share
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.summarization import Extract, Summarization, SummaryTarget, score_extract
from hierbert.tasks.summary_picks import picks_rows, picks_table, summary_picks
from hierbert.tasks.task import Scored

LINES = [f"Word{n} of the line number{n} stands in the text here." for n in range(20)]
COPY = " ".join(LINES[:2])


def prepared(references: list[list[str]]) -> list[PreparedDocument]:
    documents = Segmenter(make_tokenizer(" ".join(LINES)))([" ".join(LINES)] * len(references))
    return [
        PreparedDocument(
            str(number), document, {"summarization": SummaryTarget(own, [0.0] * len(LINES))}
        )
        for number, (document, own) in enumerate(zip(documents, references, strict=True))
    ]


def picked(document: PreparedDocument, sentences: list[int]) -> list:
    rule = SummaryRule(Budget(max_sentences=20))
    candidates = rule.candidates(document.segmented)
    return [candidates[index] for index in sentences]


def test_repeated_pairs_and_copied_runs_of_words() -> None:
    # a b, b a, a b, b c: of four pairs one was there before; pairs do not go over lines.
    assert repeated_share("a b a b c") == 0.25
    assert repeated_share("a b\na b") == 0.5 and repeated_share("a\nb") == repeated_share("") == 0
    ten = "one two three four five six seven eight nine ten"
    # Of three runs of eight words the first two stand there.
    assert copied_share(ten, "so one two three four five six seven eight nine") == 2 / 3
    assert copied_share("too short", "too short") == 0.0


def test_places_are_counted_in_tenths_and_shared_with_the_oracle() -> None:
    documents = prepared([[COPY], [COPY]])
    extracts = {
        "hierbert": [picked(documents[0], [0, 1, 19]), picked(documents[1], [5])],
        "Oracle": [picked(documents[0], [1]), picked(documents[1], [5, 6])],
    }
    found = summary_picks(extracts, [20, 20], [[COPY], [COPY]])
    assert found["systems"]["hierbert"]["places"] == [2, 0, 1, 0, 0, 0, 0, 0, 0, 1]
    assert found["systems"]["Oracle"]["places"] == [1, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert found["systems"]["hierbert"]["sentences"] == 2
    assert found["systems"]["hierbert"]["words"] == 10 * 2
    assert found["shared"] == {"precision": 2 / 4, "recall": 2 / 3}
    assert picks_rows(found)[1] == ["hierbert", "50", "0", "25", *["0"] * 6, "25"]
    assert "50 % of the picked" in next(picks_table(found))
    assert picks_rows(None) == [] == list(picks_table(None))


def test_leaks_and_several_references_are_told() -> None:
    """Scores without what leaks are those of the other documents, and means of all references."""
    other = ["Nothing of it.", "Word3 of the line is here, and more of it."]
    documents = prepared([[COPY], other])
    extracts = [picked(documents[0], [0, 1]), picked(documents[1], [3])]
    kept = [
        Extract(own, score_extract(own, document.targets["summarization"].references), None)
        for own, document in zip(extracts, documents, strict=True)
    ]
    config = HierBertConfig(summary_budget="max_sentences", summary_limit=2.0)
    task = Summarization()
    results = task.report(Scored(documents, kept, config=config, baselines=False))
    summaries = results["summaries"]
    leaks = summaries["leaks"]
    assert leaks["documents"] == 1
    assert leaks["with"]["hierbert"]["rouge1"]["mean"] == pytest.approx(1.0)
    rest = leaks["without"]["hierbert"]["rouge1"]["mean"]
    assert rest == kept[1].scores["rouge1"]
    assert summaries["systems"]["hierbert"]["rouge1"]["mean"] == pytest.approx((1 + rest) / 2)
    each = [score_extract(extracts[1], [one])["rouge1"] for one in other]
    mean = summaries["references"]["mean"]["hierbert"]["rouge1"]["mean"]
    assert mean == pytest.approx((1 + sum(each) / 2) / 2)
    assert summaries["references"]["most"] == 2 and max(each) == rest
    printed = "\n".join(task.tables({**results, "documents": 2, "split": "test"}))
    assert "1 of 2 texts hold much of their reference" in printed
    assert "best of up to 2 references" in printed
    (plain,) = [
        task.report(Scored(documents[1:], kept[1:], config=config, baselines=False))["summaries"]
    ]
    assert plain["leaks"] == {"documents": 0}
