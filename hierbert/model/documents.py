"""What a document is before it is segmented: a text, and what features read beside it."""

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DocumentText = str | Sequence[str] | Sequence[Sequence[str]]
"""A text; or its sentences (or segments, see `list_unit`); or its segments' sentences."""


@dataclass(frozen=True)
class Document:
    """A text with named values beside it, for a model whose features read them.

    Attributes:
        text: The text, or its sentences or segments, or sentences within segments.
        fields: Each value by its name, such as ``{"query": "who won?"}``.

    Raises:
        TypeError: The fields are no mapping.
    """

    text: DocumentText
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what holds no names."""
        if not isinstance(self.fields, Mapping):
            raise TypeError(f"fields are {type(self.fields).__name__}: a mapping is needed")


DocumentLike = DocumentText | Document
Texts = str | Document | Iterable[DocumentLike]
"""What can be asked about: one text, or any number of documents."""


def is_document(value: Any) -> bool:
    """Whether a value is a `Document`, also of another copy of this file, as models bring one."""
    return type(value).__name__ == Document.__name__ and hasattr(value, "fields")


def with_fields(document: DocumentLike, fields: Mapping[str, Any]) -> DocumentLike:
    """A document that has these fields too, where it says nothing of its own under their names."""
    if not fields:
        return document
    given: Any = document if is_document(document) else Document(document)  # type: ignore[arg-type]
    own = {name: value for name, value in given.fields.items() if not is_blank(value)}
    return Document(given.text, {**fields, **own})


def is_blank(value: Any) -> bool:
    """Whether the value of a field says nothing: None, or nothing but white space."""
    return value is None or (isinstance(value, str) and not value.strip())


def no_texts(given: Any) -> str | None:
    """What a value is that holds no texts in an order; None where it may hold some.

    Its keys, its columns, its lines or its bytes would be answered for its texts.
    """
    name = type(given).__name__
    if isinstance(given, Mapping):
        return f"a mapping ({name})"
    frame = hasattr(given, "columns") and hasattr(given, "iloc")
    if frame or hasattr(given, "column_names"):
        return f"a table ({name}): give one of its columns"
    if isinstance(given, os.PathLike):
        return f"a path ({given}): give the text that it holds"
    if isinstance(given, set | frozenset):
        return "a set, which has no order"
    single = isinstance(given, bytes | bytearray | memoryview | io.IOBase | type)
    return f"of type {name}" if single or not hasattr(given, "__iter__") else None


def field_lacking(document: Any, fields: Iterable[str]) -> str | None:
    """What to say of a document or a text that lacks one of the fields; None where it has all."""
    for name in fields:
        if not is_document(document) or name not in document.fields:
            return (
                f"lacks the field {name!r}, which this model reads: give "
                f"hierbert.Document(text, {{{name!r}: ...}})"
            )
    return None
