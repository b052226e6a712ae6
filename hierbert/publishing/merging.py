"""A new card into one that its author has edited: figures are renewed, words stay.

What hierbert writes stands between markers (``<!-- hierbert:results -->``); everything else on the
page is the author's. Invariant: no character outside the markers is changed, but for
``model-index`` in the metadata.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

_REGION = re.compile(
    r"<!-- hierbert:(?P<name>\w+) -->\n(?P<content>.*?)\n<!-- /hierbert:(?P=name) -->", re.DOTALL
)
_MARKER = re.compile(r"<!-- /?hierbert:\w+ -->")
_FRONT = re.compile(r"---\n(?P<metadata>.*?\n)?---\n(?P<body>.*)", re.DOTALL)
_INDEX = "model-index"


@dataclass(frozen=True)
class Merged:
    """A card to upload.

    Attributes:
        text: The whole page.
        note: What was done with the card that was there, in words; "" where there was none.
    """

    text: str
    note: str


def merge_cards(new: str, old: str | None) -> Merged:
    """Put what is new into the card that is there.

    Args:
        new: As `render_card` gives it.
        old: The page as it is; None where there is none.

    Returns:
        The new card where there was none, or one without a text; the old one with its marked parts
        renewed (those that the author took out stay out); the old one as it is where it has no
        marked parts, or its metadata cannot be read.
    """
    if old is None:
        return Merged(new, "")
    # The Hub's editor may end lines otherwise.
    plain = old.replace("\r\n", "\n")
    metadata, body = _parts(plain)
    if metadata is None:
        return Merged(old, "the card there is kept as it is: its metadata cannot be read")
    if not body.strip():
        return Merged(
            _with_metadata(new, metadata), "the card there had no text; its metadata stay"
        )
    if not _MARKER.search(body):
        return Merged(
            old,
            "the card there is its author's own and kept as it is (--overwrite-card replaces it)",
        )
    fresh = {match["name"]: match["content"] for match in _REGION.finditer(new)}

    def renew(match: "re.Match[str]") -> str:
        name = match["name"]
        content = fresh.get(name, match["content"])
        return f"<!-- hierbert:{name} -->\n{content}\n<!-- /hierbert:{name} -->"

    renewed = _REGION.sub(renew, body)
    front = plain[: len(plain) - len(body)]
    index = (_parts(new)[0] or {}).get(_INDEX)
    if metadata.get(_INDEX) != index:
        front = _front({**metadata, _INDEX: index})
    text = front + renewed
    note = "the figures of the card there are renewed, its author's words are kept"
    return Merged(old, "") if text == plain else Merged(text, note)


def _parts(card: str) -> tuple[dict[str, Any] | None, str]:
    """Metadata ({} where there are none, None where they cannot be read) and body."""
    match = _FRONT.fullmatch(card)
    if match is None:
        return {}, card
    try:
        metadata = yaml.safe_load(match["metadata"] or "")
    except yaml.YAMLError:
        return None, card
    if metadata is None:
        metadata = {}
    return (metadata, match["body"]) if isinstance(metadata, dict) else (None, card)


def _with_metadata(new: str, old: dict[str, Any]) -> str:
    fresh, body = _parts(new)
    kept = {key: value for key, value in old.items() if key != _INDEX}
    return _front({**(fresh or {}), **kept}) + body


def _front(metadata: dict[str, Any]) -> str:
    shown = {key: value for key, value in metadata.items() if value is not None}
    text = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True) if shown else ""
    return f"---\n{text}---\n"
