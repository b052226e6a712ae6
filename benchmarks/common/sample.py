"""The documents that are read: a fixed mixed sample, drawn by sorted ids and a seed.

The corpora are not part of this repository. Invariant: the same files, budget and seed give the
same sample, and its hash says so.
"""

import hashlib
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hierbert.data.aclsum import read_aclsum
from hierbert.data.corpus import Columns, load_examples
from hierbert.data.sources import resolve_sources
from hierbert.errors import DataError

CORPORA = ("movie-reviews", "cuad")
FOLDER_VARIABLE = "HIERBERT_CORPORA"
_FULL_ENOUGH = 0.9


@dataclass(frozen=True)
class Document:
    """A document of a sample."""

    id: str
    corpus: str
    text: str


@dataclass(frozen=True)
class Sample:
    """Documents of several corpora, mixed."""

    documents: list[Document]
    note: str

    @property
    def texts(self) -> list[str]:
        """The documents' texts."""
        return [document.text for document in self.documents]

    @property
    def hash(self) -> str:
        """Of the ids and texts in their order: two runs with the same one read the same."""
        digest = hashlib.sha256()
        for document in self.documents:
            for part in (document.corpus, document.id, document.text):
                digest.update(part.encode("utf-8") + b"\0")
        return digest.hexdigest()[:16]

    def record(self) -> dict[str, Any]:
        """Ids and the hash, for the JSON; no text."""
        return {
            "hash": self.hash,
            "note": self.note,
            "characters": sum(len(text) for text in self.texts),
            "documents": [f"{d.corpus}/{d.id}" for d in self.documents],
        }


def read_corpora(folder: str | None) -> tuple[dict[str, list[Document]], str]:
    """All documents to draw from, and a line that says where they come from.

    The folder, or the environment variable `FOLDER_VARIABLE`, holds `movie-reviews/train.jsonl.gz`
    and `cuad/train.jsonl.gz`; without it they are the papers of the package aclsum. A DataError
    where the folder lacks a corpus, or there is no folder and no package.
    """
    named = folder or os.environ.get(FOLDER_VARIABLE)
    if not named:
        papers = [Document(row["id"], "aclsum", row["text"]) for row in read_aclsum("test")]
        return {"aclsum": papers}, (
            "papers of the package aclsum, for neither --data nor "
            f"{FOLDER_VARIABLE} names a folder with {' and '.join(CORPORA)}: figures are not "
            "comparable with those on that sample"
        )
    corpora = {}
    for name in CORPORA:
        path = Path(named) / name / "train.jsonl.gz"
        if not path.is_file():
            raise DataError(f"--data: {path} is missing; the folder must hold {', '.join(CORPORA)}")
        examples = load_examples(resolve_sources(str(path), "input"), Columns())
        corpora[name] = [Document(e.id, name, e.text) for e in examples if isinstance(e.text, str)]
    return corpora, f"training documents of {' and '.join(CORPORA)}, half of the characters each"


def draw(corpora: dict[str, list[Document]], characters: int, seed: int, note: str = "") -> Sample:
    """Draw and mix documents, the same budget of characters from each corpus.

    In a seeded order of the ids a document is taken when it fits what is left of its corpus's
    budget, until nine tenths are used. Where none fits, the shortest is taken.
    """
    taken: list[Document] = []
    share = characters // len(corpora)
    for name in sorted(corpora):
        taken += _draw_one(corpora[name], share, f"{seed} {name}")
    random.Random(f"{seed} mix").shuffle(taken)
    return Sample(taken, note)


def _draw_one(documents: Sequence[Document], characters: int, seed: str) -> list[Document]:
    order = sorted(documents, key=lambda document: document.id)
    random.Random(seed).shuffle(order)
    taken: list[Document] = []
    used = 0
    for document in order:
        if used >= _FULL_ENOUGH * characters:
            break
        if document.text and used + len(document.text) <= characters:
            taken.append(document)
            used += len(document.text)
    return taken or [min(order, key=lambda document: (len(document.text), document.id))]
