"""What the tests of reading share: the documents of a corpus, and what a broken one must give."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hierbert import DataError, read_documents
from hierbert.extend import BrokenRow, Example

NOTHING_READ = "; nothing of the file was read$"
Expected = tuple[str, Any] | tuple[str | None, str, str]


def line(text: Any, **more: Any) -> bytes:
    return json.dumps({"text": text, **more}).encode() + b"\n"


def write(path: Path, *lines: bytes | dict[str, Any]) -> Path:
    """A file of these bytes, or of JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"".join(
            one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines
        )
    )
    return path


def load(corpus: Any, **options: Any) -> list[Any]:
    return list(read_documents(corpus, **options))


def load_all(corpus: Any, **options: Any) -> list[Any]:
    """The broken rows too."""
    return list(read_documents(corpus, keep_broken=True, **options))


def error_of(corpus: Any, kind: type[Exception] = DataError, **options: Any) -> str:
    """The one line that refuses a corpus."""
    with pytest.raises(kind) as caught:
        load(corpus, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1000
    return message


def broken(reason: str, place: str = "", row_id: str | None = None) -> Expected:
    """A `BrokenRow` whose reason matches a pattern and whose location ends with `place`."""
    return (row_id, place, reason)


def same(item: Example | BrokenRow, expected: Expected) -> bool:
    if isinstance(item, Example):
        return expected == (item.id, item.text)
    if len(expected) != 3:
        return False
    row_id, place, reason = expected
    found = item.id == row_id and item.location.endswith(place) and re.search(reason, item.reason)
    return bool(found) and "\n" not in item.reason and len(item.reason) < 2000


def check(corpus: Any, expected: list[Expected], **options: Any) -> None:
    """Read twice with broken rows kept, and once without: rows, then one line with the place."""
    kept = load_all(corpus, **options)
    assert len(kept) == len(expected), kept
    for item, wanted in zip(kept, expected, strict=True):
        assert same(item, wanted), (item, wanted)
    check_both_ways(corpus, kept, **options)


def check_both_ways(corpus: Any, kept: list[Any], **options: Any) -> None:
    """The same comes again, and without keeping broken rows the first one is the error."""
    assert repr(load_all(corpus, **options)) == repr(kept)  # repr: NaN equals itself
    good = next((i for i, item in enumerate(kept) if isinstance(item, BrokenRow)), len(kept))
    whole, error = [], None
    try:
        for document in read_documents(corpus, **options):
            whole.append(document)
    except DataError as refusal:
        error = str(refusal)
    assert repr(whole) == repr(kept[:good])
    assert (error is None) == (good == len(kept))
    assert error is None or (error.startswith(kept[good].location) and "\n" not in error)
