"""What the tests of reading share: all rows of a setting, or the one line that refuses it."""

from pathlib import Path
from typing import Any

import pytest

from hierbert.data.columns import Columns
from hierbert.data.document import Row
from hierbert.data.readers import read_rows
from hierbert.data.sources import resolve_sources
from hierbert.errors import DataError


def columns_of(text: str = "text", id: str | None = None, **fields: str) -> Columns:
    return Columns(text, id, fields)


def rows_of(spec: str | Path | list[str], role: str = "train", **kwargs: Any) -> list[Row]:
    return [row for source in resolve_sources(spec, role) for row in read_rows(source, **kwargs)]


def values_of(spec: str | Path | list[str], **kwargs: Any) -> list[dict[str, Any]]:
    return [row.values for row in rows_of(spec, **kwargs)]


def error_of(spec: str | Path | list[str], kind: type[Exception] = DataError, **kwargs: Any) -> str:
    with pytest.raises(kind) as caught:
        rows_of(spec, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message
