"""A new card into one that its author has edited: figures are renewed, words stay.

What hierbert writes stands between markers (``<!-- hierbert:results -->``); everything else on the
page is the author's. Invariant: no character outside the markers is changed, but for
``model-index`` in the metadata, and ``license`` where a licence is asked for.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from hierbert.publishing.card import NOT_KNOWN

_REGION = re.compile(
    r"<!-- hierbert:(?P<name>\w+) -->\n(?P<content>.*?)\n<!-- /hierbert:(?P=name) -->", re.DOTALL
)
_MARKER = re.compile(r"<!-- /?hierbert:\w+ -->")
# A byte order mark, blank lines and spaces behind the dashes are what editors leave.
_OPENING = re.compile(r"\ufeff?\s*---[ \t]*(?:\n|\Z)")
_FRONT = re.compile(
    r"(?P<opening>\ufeff?\s*---[ \t]*\n)(?P<metadata>(?:.*?\n)??)"
    r"(?P<closing>---[ \t]*(?:\n|\Z))(?P<body>.*)",
    re.DOTALL,
)
_INDEX = "model-index"
_LICENSE_LINE = re.compile(r"(license[ \t]*:[ \t]*)[^\s#\[{|>&*!]+([ \t]*(?:[ \t]#.*)?\n)")


@dataclass(frozen=True)
class Merged:
    """A card to upload.

    Attributes:
        text: The whole page.
        note: What was done with the card that was there, in words; "" where there was none.
    """

    text: str
    note: str


@dataclass(frozen=True)
class _Card:
    """A page in its parts, which one after the other are the page.

    Attributes:
        opening: To the line of dashes, included; "" where there are no metadata.
        front: The metadata's own lines.
        closing: The second line of dashes.
        body: The rest.
        metadata: What the lines mean; None where they cannot be read.
    """

    opening: str
    front: str
    closing: str
    body: str
    metadata: dict[str, Any] | None


def merge_cards(new: str, old: str | None, license: str | None = None) -> Merged:
    """Put what is new into the card that is there.

    Args:
        new: As `render_card` gives it.
        old: The page as it is; None where there is none.
        license: Licence that the user asks for, which the metadata get; None leaves theirs.

    Returns:
        The new card where there was none, or one without a text; the old one with its marked parts
        renewed (those that the author took out stay out, and so do figures where the new card has
        none); the old one where it has no marked parts, or its metadata cannot be read.
    """
    if old is None:
        return Merged(new, "")
    # The Hub's editor may end lines otherwise.
    plain = old.replace("\r\n", "\n")
    there, fresh = _parts(plain), _parts(new)
    if there.metadata is None:
        return Merged(old, "the card there is kept as it is: its metadata cannot be read")
    wanted = {} if license is None else {"license": license}
    if not there.body.strip():
        note = "the card there had no text; its metadata stay"
        return Merged(_filled(fresh, there, wanted), note)
    body, note = there.body, ""
    if _MARKER.search(body):
        body, note = _renewed(fresh.body, body)
        if (index := (fresh.metadata or {}).get(_INDEX)) is not None:
            wanted[_INDEX] = index
    else:
        note = "the card there is its author's own and kept as it is (--overwrite-card replaces it)"
    card, refused = _with_values(there, fresh, wanted)
    text = card.opening + card.front + card.closing + body
    if refused:
        note += f"; {', '.join(refused)} in its metadata could not be renewed"
    elif license is not None and there.metadata.get("license") != license:
        note += f"; its licence becomes {license}"
    if text == plain:
        return Merged(old, note if refused or not _MARKER.search(body) else "")
    return Merged(text.replace("\n", "\r\n") if _ends_lines_with_crlf(old) else text, note)


def _ends_lines_with_crlf(text: str) -> bool:
    return 2 * text.count("\r\n") > text.count("\n")


def _renewed(new: str, old: str) -> tuple[str, str]:
    """The old body with what is known now in its marked parts, and what to say of it."""
    fresh = {match["name"]: match["content"] for match in _REGION.finditer(new)}
    kept = []

    def renew(match: "re.Match[str]") -> str:
        name = match["name"]
        content = fresh.get(name, match["content"])
        # A copy of the model without its run knows less than the page does.
        if content in NOT_KNOWN and match["content"] != content:
            kept.append(name)
            content = match["content"]
        return f"<!-- hierbert:{name} -->\n{content}\n<!-- /hierbert:{name} -->"

    body = _REGION.sub(renew, old)
    note = "the figures of the card there are renewed, its author's words are kept"
    if kept:
        note += f"; without the run nothing new is known of {', '.join(kept)}, which stay as before"
    return body, note


def _parts(card: str) -> _Card:
    match = _FRONT.fullmatch(card)
    if match is None:
        # Metadata that do not end cannot be told from the text.
        return _Card("", "", "", card, None if _OPENING.match(card) else {})
    metadata = _loaded(match["metadata"])
    return _Card(match["opening"], match["metadata"], match["closing"], match["body"], metadata)


def _loaded(front: str) -> dict[str, Any] | None:
    try:
        metadata = yaml.safe_load(front)
    # A date such as 2024-13-45 is a ValueError.
    except (yaml.YAMLError, ValueError):
        return None
    if metadata is None:
        return {}
    return metadata if isinstance(metadata, dict) else None


def _filled(fresh: _Card, there: _Card, wanted: dict[str, Any]) -> str:
    """The new card with the metadata of a page that has nothing else."""
    had = there.metadata or {}
    more = {k: v for k, v in (fresh.metadata or {}).items() if k not in had or k == _INDEX}
    card, _ = _with_values(there, fresh, {**more, **wanted})
    return f"---\n{card.front}---\n{fresh.body}"


def _with_values(card: _Card, fresh: _Card, wanted: dict[str, Any]) -> tuple[_Card, list[str]]:
    """A card with values in its metadata, of which no other character changes.

    Returns:
        The card, and the keys that could not be set without touching anything else.
    """
    front, metadata, refused = card.front, card.metadata or {}, []
    for key, value in wanted.items():
        if key in metadata and metadata[key] == value:
            continue
        lines = fresh.front.splitlines(keepends=True)
        start, end = _block(lines, key)
        block = "".join(lines[start:end])
        if _loaded(block) != {key: value}:
            block = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True)
        changed = _replaced(front, key, block)
        if _loaded(changed) != {**metadata, key: value}:
            refused.append(key)
            continue
        front, metadata = changed, {**metadata, key: value}
    opening, closing = card.opening, card.closing
    if front and not opening:
        opening, closing = "---\n", "---\n"
    return _Card(opening, front, closing, card.body, metadata), refused


def _replaced(front: str, key: str, block: str) -> str:
    lines = front.splitlines(keepends=True)
    start, end = _block(lines, key)
    if key == "license" and end - start == 1 and (match := _LICENSE_LINE.fullmatch(lines[start])):
        value = block.partition(":")[2].strip()
        block = f"{match[1]}{value}{match[2]}"
    return "".join([*lines[:start], block, *lines[end:]])


def _block(lines: list[str], key: str) -> tuple[int, int]:
    """Where the lines of a top-level key are; both ends behind the last line if it is missing."""
    head = re.compile(rf"(['\"]?){re.escape(key)}\1[ \t]*:(\s|\Z)")
    start = next((n for n, line in enumerate(lines) if head.match(line)), len(lines))
    end = start + 1
    while end < len(lines) and lines[end][0] in " \t-#\n":
        end += 1
    # Comments before the next key are of that key.
    while end - 1 > start and lines[min(end, len(lines)) - 1][0] in "#\n":
        end -= 1
    return start, min(end, len(lines))
