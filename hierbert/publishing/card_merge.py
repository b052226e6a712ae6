"""A new card into one that its author has edited: figures are renewed, words stay.

What hierbert writes stands between markers (``<!-- hierbert:results -->``); everything else on the
page is the author's. Invariant: no character of the text outside the markers is changed, and of the
metadata no value but ``model-index``, and ``license`` where a licence is asked for.
"""

import re
from typing import Any, NamedTuple

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.utils import yaml_dump

from hierbert.publishing.card import NOT_KNOWN

_REGION = re.compile(
    r"<!-- hierbert:(?P<name>\w+) -->\n(?P<content>.*?)\n<!-- /hierbert:(?P=name) -->", re.DOTALL
)
# A byte order mark, blank lines and spaces behind the dashes are what editors leave.
_OPENING = re.compile(r"\ufeff?\s*---[ \t]*(?:\n|\Z)")
_INDEX = "model-index"


class Merged(NamedTuple):
    """A card to upload, and what was done with the one that was there ("" where nothing)."""

    text: str
    note: str


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
    elif _REGION.search(body):
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
        return Merged(old, note if changed or not _REGION.search(body) else "")
    crlf = 2 * old.count("\r\n") > old.count("\n")
    return Merged(text.replace("\n", "\r\n") if crlf else text, note)


def _renewed(new: str, old: str) -> tuple[str, str]:
    fresh = {match["name"]: match["content"] for match in _REGION.finditer(new)}
    kept = []

    def renew(match: "re.Match[str]") -> str:
        name = match["name"]
        content = fresh.get(name, match["content"])
        # A copy of the model without its run knows less than the page does.
        if content.startswith(NOT_KNOWN) and match["content"] != content:
            kept.append(name)
            content = match["content"]
        return f"<!-- hierbert:{name} -->\n{content}\n<!-- /hierbert:{name} -->"

    body = _REGION.sub(renew, old)
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
