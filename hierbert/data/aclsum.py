"""The 250 scientific papers inside the installed package `aclsum`, as rows.

It reads the package's data files and never imports the package, which would import others. The
splits and their order are the package's own (100, 50 and 100 papers).

Source: Takeshita et al., "ACLSum: A New Dataset for Aspect-based Summarization of Scientific
Publications", NAACL 2024.
"""

import importlib.util
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hierbert.errors import DataError

_FILE_OF_SPLIT = {"train": "train.jsonl", "validation": "val.jsonl", "test": "test.jsonl"}
_ASPECTS = ("challenge", "approach", "outcome")
_FIRST_LATER_YEAR = 2014


def read_aclsum(split: str) -> Iterator[dict[str, Any]]:
    """Stream the papers of a split, "train", "validation" or "test".

    Of each the strings ``id`` (of the ACL Anthology), ``title``, ``text`` (the body without the
    abstract: a line for each paragraph and, where the section changes, for its heading),
    ``abstract``, ``summary`` (its challenge, approach and outcome, a line each) and ``era`` (see
    `era_of`). A DataError where the package is not installed, or its files are not those of version
    0.1.2.
    """
    folder = _dataset_folder()
    try:
        with open(folder / _FILE_OF_SPLIT[split], encoding="utf-8") as papers:
            for line in papers:
                paper = json.loads(line)
                path = folder / "paper_jsons" / f"{paper['id']}.json"
                parsed = json.loads(path.read_text(encoding="utf-8"))
                yield {
                    "id": paper["id"],
                    "title": paper["title"],
                    "text": _body(parsed["pdf_parse"]["body_text"]),
                    "abstract": parsed["abstract"],
                    "summary": "\n".join(paper["summary"][aspect] for aspect in _ASPECTS),
                    "era": era_of(paper["id"]),
                }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the installed package aclsum is not the one expected ({error!r}); "
            "pip install aclsum==0.1.2",
            place=f"package://aclsum/{split}",
        ) from error


def era_of(anthology_id: str) -> str:
    """``before 2014`` or ``2014 or later``; a ValueError for what is no ACL Anthology id."""
    if match := re.match(r"[A-Z](\d\d)-\d", anthology_id, re.ASCII):
        short = int(match[1])
        year = (1900 if short >= 79 else 2000) + short  # the oldest paper is of 1979
    elif match := re.match(r"(\d{4})\.", anthology_id, re.ASCII):
        year = int(match[1])
    else:
        raise ValueError(f"{anthology_id!r} is no ACL Anthology id")
    return "before 2014" if year < _FIRST_LATER_YEAR else "2014 or later"


def _dataset_folder() -> Path:
    # importlib.resources would import the package; finding its spec does not.
    spec = importlib.util.find_spec("aclsum")
    if spec is None or spec.origin is None:
        raise DataError(
            "the package aclsum, which holds these documents, is not installed; "
            "pip install aclsum==0.1.2"
        )
    return Path(spec.origin).parent / "dataset"


def _body(paragraphs: list[dict[str, Any]]) -> str:
    body: list[str] = []
    for section, group in itertools.groupby(paragraphs, key=lambda each: each["section"]):
        body += [section, *(paragraph["text"] for paragraph in group)]
    return "\n".join(line for line in body if line)
