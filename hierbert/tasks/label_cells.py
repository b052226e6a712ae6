"""What a cell of text says of labels: a list of them, or whether one applies.

Invariant: a cell is data. Lists are literals of one level, read by parsers that run nothing.
"""

import ast
import json
import re
import warnings
from typing import Any

_MOST_CHARACTERS = 1_000_000
_STRING = r"""(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
_ITEM = rf"(?:{_STRING}|[+-]?[0-9.][0-9A-Za-z_.+-]*|[Tt]rue|[Ff]alse)"
# One level, or two, so that no parser recurses; a comma after each item, for Python joins strings
# that have none between them, as those that numpy prints.
_LIST_OF_ITEMS = rf"\[\s*(?:{_ITEM}\s*(?:,\s*{_ITEM}\s*)*(?:,\s*)?)?\]"
_LIST = re.compile(_LIST_OF_ITEMS)
_ONE = rf"(?:{_LIST_OF_ITEMS}|{_ITEM})"
_LIST_OF_LISTS = re.compile(rf"\[\s*(?:{_ONE}\s*(?:,\s*{_ONE}\s*)*(?:,\s*)?)?\]")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def list_in(cell: str, of_lists: bool = False) -> list[Any] | None:
    """The list that a cell spells, as JSON or as Python writes it; None where it spells none.

    Its items are strings, numbers and booleans, and where a list may be one `of_lists`, such lists.
    """
    text, form = cell.strip(), _LIST_OF_LISTS if of_lists else _LIST
    if not text.startswith("[") or len(text) > _MOST_CHARACTERS or not form.fullmatch(text):
        return None
    try:
        items = json.loads(text)
    except ValueError:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of backslashes that escape nothing
                items = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return None
    flat = [one for item in items for one in (item if isinstance(item, list) else [item])]
    is_plain = all(isinstance(item, str | bool | int | float) for item in flat)
    return items if is_plain else None


def looks_like_a_list(cell: str) -> bool:
    """Whether a cell is in brackets and holds a quote or a comma, whether it can be read or not."""
    text = cell.strip()
    return _BRACKETS.get(text[:1]) == text[-1:] and any(one in text for one in "'\",")


def flag_in(name: str) -> bool | None:
    """Whether a label applies, by 1, true, yes or 0, false, no; None for any other name."""
    return _FLAGS.get(name.strip().casefold())
