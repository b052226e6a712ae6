"""What the tests of hostile input share: reading with broken rows kept, and what it must give."""

import json
import re
from typing import Any

from hierbert.data.columns import Columns
from hierbert.data.corpus import read_examples
from hierbert.data.document import BrokenRow, Example
from hierbert.errors import DataError

NOTHING_READ = "; nothing of the file was read$"
Expected = tuple[str, Any] | tuple[str | None, str, str]


def read(spec, keep_broken=True, columns=None, encoding="utf-8", role="input"):
    return read_examples(
        spec if isinstance(spec, list) else str(spec),
        columns or Columns(),
        role=role,
        encoding=encoding,
        keep_broken=keep_broken,
    )


def broken(reason, place="", row_id=None) -> Expected:
    """A `BrokenRow` whose reason matches a pattern and whose location ends with `place`."""
    return (row_id, place, reason)


def same(item, expected: Expected) -> bool:
    if isinstance(item, Example):
        return expected == (item.id, item.text)
    if len(expected) != 3:
        return False
    row_id, place, reason = expected
    found = item.id == row_id and item.location.endswith(place) and re.search(reason, item.reason)
    return bool(found) and "\n" not in item.reason and len(item.reason) < 2000


def check(spec, expected: list[Expected], **kwargs) -> None:
    """Read twice with broken rows kept, and once without: rows, then one line with the place."""
    kept = list(read(spec, **kwargs))
    assert len(kept) == len(expected), kept
    for item, wanted in zip(kept, expected, strict=True):
        assert same(item, wanted), (item, wanted)
    assert list(read(spec, **kwargs)) == kept
    whole = []
    error = None
    try:
        for example in read(spec, keep_broken=False, **kwargs):
            whole.append(example)
    except DataError as refusal:
        error = str(refusal)
    places = [place for place, item in enumerate(kept) if isinstance(item, BrokenRow)]
    if not places:
        assert error is None and whole == kept
        return
    assert error is not None and "\n" not in error
    assert error.startswith(kept[places[0]].location)
    assert whole == kept[: places[0]]


def line(text, **more) -> bytes:
    return json.dumps({"text": text, **more}).encode() + b"\n"
