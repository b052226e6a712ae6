"""A new card into one that its author has edited: figures are renewed, words stay.

What hierbert writes stands between markers (``<!-- hierbert:results -->``); everything else on the
page is the author's. Invariant: no character of the text outside the markers is changed, and of the
metadata no value but ``model-index``, and ``license`` where a licence is asked for.
"""

import bisect
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.utils import yaml_dump

from hierbert.publishing.card import NOT_KNOWN

_OPENS = re.compile(r"<!-- hierbert:(\w+) -->\n")
_CLOSES = re.compile(r"\n<!-- /hierbert:(\w+) -->")
# A byte order mark, blank lines and spaces behind the dashes are what editors leave.
_OPENING = re.compile(r"\A\ufeff?\s*---[ \t]*(?:\n|\Z)")
_INDEX = "model-index"


class Merged(NamedTuple):
    """A card to upload, and what was done with the one that was there ("" where nothing)."""

    text: str
    note: str


class _Region(NamedTuple):
    """What stands between two markers, and where it does."""

    name: str
    start: int
    end: int


def _regions(text: str) -> Iterator[_Region]:
    """The marked parts, each up to the first marker of its name that closes it."""
    closing = defaultdict(list)
    for match in _CLOSES.finditer(text):
        closing[match[1]].append(match.start())
    after = 0
    for match in _OPENS.finditer(text):
        ends = closing[match[1]]
        if match.start() >= after and (at := bisect.bisect_left(ends, match.end())) < len(ends):
            after = ends[at]
            yield _Region(match[1], match.end(), after)


def merge_cards(new: str, old: str | None, license: str | None = None) -> Merged:
    """Put what is new into the card that is there, if any; `license` is what the user asks for.

    Gives the new card where there was none, or one without a text; the old one with its marked
    parts renewed (those that the author took out stay out, and so do figures where the new card has
    none); the old one where it has no marked parts, or its metadata cannot be read.
    """
    if old is None:
        return Merged(new, "")
    # The Hub's editor may end lines otherwise.
    plain = _OPENING.sub("---\n", old.replace("\r\n", "\n"), count=1)
    front, body = _parts(plain)
    had = _loaded(front)
    if had is None or (not front and _OPENING.match(body)):
        return Merged(old, "the card there is kept as it is: its metadata cannot be read")
    fresh_front, fresh_body = _parts(new)
    fresh = _loaded(fresh_front) or {}
    wanted = {} if license is None else {"license": license}
    if not body.strip():
        body, note = fresh_body, "the card there had no text; its metadata stay"
        wanted = fresh | {key: had[key] for key in had.keys() - {_INDEX}} | wanted
    elif any(_regions(body)):
        body, note = _renewed(fresh_body, body)
        wanted |= {key: fresh[key] for key in fresh.keys() & {_INDEX}}
    else:
        note = "the card there is its author's own and kept as it is (--overwrite-card replaces it)"
    changed = {key: value for key, value in wanted.items() if had.get(key) != value}
    if license is not None and "license" in changed:
        note += f"; its licence becomes {license}"
    edited = _with_values(front, changed)
    if _loaded(edited) != had | changed:
        edited, note = front, f"{note}; {', '.join(changed)} in its metadata could not be renewed"
    text = f"---\n{edited}---\n{body}" if edited else body
    if text == plain:
        return Merged(old, note if changed or not any(_regions(body)) else "")
    crlf = 2 * old.count("\r\n") > old.count("\n")
    return Merged(text.replace("\n", "\r\n") if crlf else text, note)


def _renewed(new: str, old: str) -> tuple[str, str]:
    fresh = {region.name: new[region.start : region.end] for region in _regions(new)}
    kept, parts, after = [], [], 0
    for name, start, end in _regions(old):
        there = old[start:end]
        content = fresh.get(name, there)
        # A copy of the model without its run knows less than the page does.
        if content.startswith(NOT_KNOWN) and there != content:
            kept.append(name)
            content = there
        parts += [old[after:start], content]
        after = end
    body = "".join([*parts, old[after:]])
    note = "the figures of the card there are renewed, its author's words are kept"
    if kept:
        note += f"; without the run nothing new is known of {', '.join(kept)}, which stay as before"
    return body, note


def _parts(card: str) -> tuple[str, str]:
    """Lines of the metadata, and the text; a card whose metadata do not end is all text."""
    # The Hub's own rule, which needs a line between the dashes.
    match = REGEX_YAML_BLOCK.match(card)
    return (f"{match[2]}\n", card[match.end() :]) if match else ("", card)


def _loaded(front: str) -> dict[str, Any] | None:
    try:
        metadata = yaml.safe_load(front)
    # A date such as 2024-13-45 is a ValueError.
    except (yaml.YAMLError, ValueError):
        return None
    return metadata if isinstance(metadata, dict) else {} if metadata is None else None


def _with_values(front: str, values: dict[str, Any]) -> str:
    """Metadata with the lines of these keys taken out, and new ones for them at the end.

    `ModelCard` would read and write all of them, and make ``false`` of the language ``no``.
    """
    for key, value in values.items():
        own = rf"(?m)^(['\"]?){re.escape(key)}\1[ \t]*:.*\n(?:[ \t-].*\n|\n)*"
        front = re.sub(own, "", front) + yaml_dump({key: value}, sort_keys=False)
    return front
