"""What a document is before it is segmented: a text, and what features read beside it."""

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


def field_lacking(document: Any, fields: Iterable[str]) -> str | None:
    """What to say of a document or a text that lacks one of the fields; None where it has all."""
    for name in fields:
        if not is_document(document) or name not in document.fields:
            return (
                f"lacks the field {name!r}, which this model reads: give "
                f"hierbert.Document(text, {{{name!r}: ...}})"
            )
    return None
