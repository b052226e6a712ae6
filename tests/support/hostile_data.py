"""What the tests of hostile input share: reading with broken rows kept, and what it must give."""

import json
import re

from hierbert.data.broken import BrokenRow
from hierbert.data.corpus import Columns, Example, read_examples
from hierbert.errors import DataError

NOTHING_READ = "; nothing of the file was read$"


def read(spec, keep_broken=True, columns=None, encoding="utf-8", **kwargs):
    kwargs = {"field": "--input", "role": "input", **kwargs}
    return read_examples(
        spec if isinstance(spec, list) else str(spec),
        columns or Columns(),
        encoding=encoding,
        keep_broken=keep_broken,
        **kwargs,
    )


def broken(reason, place="", row_id=None):
    """A `BrokenRow` whose reason matches a pattern and whose location ends with `place`."""
    return (row_id, place, reason)


def same(item, expected) -> bool:
    if isinstance(item, Example):
        return expected == (item.id, item.text)
    if len(expected) != 3:
        return False
    row_id, place, reason = expected
    found = item.id == row_id and item.location.endswith(place) and re.search(reason, item.reason)
    return bool(found) and "\n" not in item.reason and len(item.reason) < 2000


def check(spec, expected, **kwargs) -> None:
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
    assert error is not None and "\n" not in error and error.startswith("--input: ")
    # Bytes are decoded in pieces, so a piece that is not text may cost the good rows before it.
    assert whole == kept[: len(whole)] and len(whole) <= places[0]


def line(text, **more) -> bytes:
    return json.dumps({"text": text, **more}).encode() + b"\n"
