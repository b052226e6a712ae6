"""The papers inside the package aclsum: read without importing it; refused where they differ."""

import importlib.util
import json
import sys
from collections import Counter

import pytest
from reading import error_of, load

from hierbert.data.aclsum import era_of

COLUMNS = {"label_column": "era", "summary_column": "summary"}


def test_era_of_both_forms_of_anthology_ids():
    before, later = "before 2014", "2014 or later"
    eras = {
        "P79-1001": before, "W99-0101": before, "P06-1112": before, "D13-1001": before,
        "2013.x-y.1": before, "P14-5010": later, "N19-1423": later, "2020.acl-main.528": later,
    }  # fmt: skip
    assert {anthology_id: era_of(anthology_id) for anthology_id in eras} == eras
    for anthology_id in ("", "1112", "P6-1112", "20.acl"):
        with pytest.raises(ValueError, match="no ACL Anthology id"):
            era_of(anthology_id)


@pytest.mark.skipif(importlib.util.find_spec("aclsum") is None, reason="aclsum is not installed")
@pytest.mark.parametrize(
    ("split", "papers", "earlier"),
    [("train", 100, 44), ("validation", 50, 21), ("test", 100, 49)],
)
def test_papers_are_read_without_importing_the_package(split, papers, earlier) -> None:
    documents = load(f"package://aclsum/{split}", **COLUMNS)
    eras = Counter(document.fields["label"] for document in documents)
    assert eras == {"before 2014": earlier, "2014 or later": papers - earlier}
    assert all(document.fields["summary"].count("\n") >= 2 for document in documents)
    assert min(len(document.text) for document in documents) > 1000
    assert "aclsum" not in sys.modules and "sienna" not in sys.modules


def test_a_paper_by_hand_and_a_package_that_is_missing_or_another(tmp_path, monkeypatch) -> None:
    dataset = tmp_path / "aclsum" / "dataset"
    (dataset / "paper_jsons").mkdir(parents=True)
    (dataset.parent / "__init__.py").write_text("raise ImportError('never imported')")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    aspects = {"outcome": "third", "challenge": "first", "approach": "second"}
    row = {"id": "P06-1112", "title": "T", "summary": aspects}
    (dataset / "val.jsonl").write_text(json.dumps(row) + "\n")
    parts = [("", "start"), ("One", "a"), ("One", "b"), ("Two", "c"), ("One", "d"), ("One", "")]
    body = [{"section": section, "text": text} for section, text in parts]
    paper = {"abstract": "short", "pdf_parse": {"body_text": body}}
    path = dataset / "paper_jsons" / "P06-1112.json"
    path.write_text(json.dumps(paper))
    (document,) = load("package://aclsum/validation", **COLUMNS)
    assert document.id == "P06-1112" and document.text == "start\nOne\na\nb\nTwo\nc\nOne\nd"
    assert document.fields == {"label": "before 2014", "summary": "first\nsecond\nthird"}
    assert document.location == "package://aclsum/validation, row 1"
    del body[0]["section"]
    path.write_text(json.dumps(paper))
    for split in ("validation", "test"):  # a key is missing; a file is missing
        message = error_of(f"package://aclsum/{split}")
        assert "not the one expected" in message and "pip install aclsum==0.1.2" in message
    monkeypatch.setattr(sys, "path", [])
    assert "is not installed; pip install aclsum==0.1.2" in error_of("package://aclsum/train")
