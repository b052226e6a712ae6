"""The papers inside the package aclsum: read without importing it; refused where they differ."""

import importlib.util
import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from reading import error_of, load

from hierbert.data.aclsum import era_of

needs_aclsum = pytest.mark.skipif(
    importlib.util.find_spec("aclsum") is None, reason="the package aclsum is not installed"
)


def test_era_of_both_forms_of_anthology_ids():
    eras = {
        "P79-1001": "before 2014", "W99-0101": "before 2014", "P06-1112": "before 2014",
        "D13-1001": "before 2014", "P14-5010": "2014 or later", "N19-1423": "2014 or later",
        "2020.acl-main.528": "2014 or later", "2013.x-y.1": "before 2014",
    }  # fmt: skip
    assert {anthology_id: era_of(anthology_id) for anthology_id in eras} == eras
    for anthology_id in ("", "1112", "P6-1112", "20.acl"):
        with pytest.raises(ValueError, match="no ACL Anthology id"):
            era_of(anthology_id)


@needs_aclsum
@pytest.mark.parametrize(
    ("split", "papers", "earlier"),
    [("train", 100, 44), ("validation", 50, 21), ("test", 100, 49)],
)
def test_aclsum_papers_are_read_without_importing_the_package(split, papers, earlier) -> None:
    documents = load(f"package://aclsum/{split}", label_column="era", summary_column="summary")
    eras = Counter(document.fields["label"] for document in documents)
    assert eras == {"before 2014": earlier, "2014 or later": papers - earlier}
    assert all(document.fields["summary"].count("\n") >= 2 for document in documents)
    assert min(len(document.text) for document in documents) > 1000
    assert "aclsum" not in sys.modules and "sienna" not in sys.modules


def fake_aclsum(tmp_path, monkeypatch, body):
    dataset = tmp_path / "site" / "aclsum" / "dataset"
    (dataset / "paper_jsons").mkdir(parents=True)
    (dataset.parent / "__init__.py").write_text("raise ImportError('never imported')")
    aspects = {"outcome": "third", "challenge": "first", "approach": "second"}
    row = {"id": "P06-1112", "title": "T", "summary": aspects}
    (dataset / "val.jsonl").write_text(json.dumps(row) + "\n")
    paper = {"abstract": "short", "pdf_parse": {"body_text": body}}
    (dataset / "paper_jsons" / "P06-1112.json").write_text(json.dumps(paper))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    importlib.invalidate_caches()


def test_aclsum_body_has_a_line_for_each_heading_and_paragraph(tmp_path, monkeypatch) -> None:
    parts = [("", "start"), ("One", "a"), ("One", "b"), ("Two", "c"), ("One", "d"), ("One", "")]
    fake_aclsum(tmp_path, monkeypatch, [{"section": s, "text": t} for s, t in parts])
    columns = {"label_column": "era", "summary_column": "summary"}
    (document,) = load("package://aclsum/validation", **columns)
    assert document.id == "P06-1112" and document.text == "start\nOne\na\nb\nTwo\nc\nOne\nd"
    assert document.fields["label"] == "before 2014"
    assert document.fields["summary"] == "first\nsecond\nthird"
    assert document.location == "package://aclsum/validation, row 1"


def test_aclsum_missing_or_of_another_version(tmp_path, monkeypatch) -> None:
    fake_aclsum(tmp_path, monkeypatch, [{"text": "no section"}])
    for split in ("validation", "test"):  # a key is missing; a file is missing
        message = error_of(f"package://aclsum/{split}")
        assert "not the one expected" in message and "pip install aclsum==0.1.2" in message
    monkeypatch.setattr(sys, "path", [])
    assert "is not installed; pip install aclsum==0.1.2" in error_of("package://aclsum/train")


@needs_aclsum
@pytest.mark.corpora
@pytest.mark.skipif("HIERBERT_CORPORA" not in os.environ, reason="HIERBERT_CORPORA is not set")
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_aclsum_has_the_words_of_the_development_corpus(split):
    folder = Path(os.environ["HIERBERT_CORPORA"]) / "aclsum"
    known, ours = (
        [
            (item.id, item.fields["summary"], item.text.split())
            for item in load(corpus, summary_column="summary")
        ]
        for corpus in (folder / f"{split}.jsonl.gz", f"package://aclsum/{split}")
    )
    assert ours == known
