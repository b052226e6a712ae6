"""Lists of pages: tables of some hundred rows, each a page with a link to the one before and after.

Invariant: whatever their number, the entries of one list alone are held.
"""

from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Any

from hierbert.pages.shell import asset, fragment, render_page

INDEX = "index.html"
ENTRIES_OF_A_LIST = 200


def index_name(number: int) -> str:
    """The file of a list, from 0."""
    return f"index-{number + 1}.html" if number else INDEX


def write_index(
    entries: Iterable[tuple[str, dict[str, Any]]],
    write: Callable[[str, str], None],
    title: str = "Documents",
    note: str = "",
) -> int:
    """Write the lists of some pages; how many pages they list.

    Args:
        entries: Of each page the name of its file and what `entry_of` tells of it.
        write: Is given the name of each file and its content.
        title: The heading.
        note: A line below it.
    """
    entries = iter(entries)
    count, number = 0, 0
    rows = list(islice(entries, ENTRIES_OF_A_LIST))
    while True:
        # One more, by which it is known whether there is another list.
        following = list(islice(entries, 1))
        write(index_name(number), _list(rows, number, count, bool(following), title, note))
        count += len(rows)
        if not following:
            return count
        number += 1
        rows = list(islice(chain(following, entries), ENTRIES_OF_A_LIST))


def _list(
    rows: list[tuple[str, dict[str, Any]]],
    number: int,
    before: int,
    more: bool,
    title: str,
    note: str,
) -> str:
    body = fragment(
        "index.html.jinja",
        title=title,
        note=note,
        rows=rows,
        first=before + 1,
        last=before + len(rows),
        previous=index_name(number - 1) if number else "",
        following=index_name(number + 1) if more else "",
        with_labels=any(entry["answers"] for _, entry in rows),
        with_probability=any(entry["probability"] is not None for _, entry in rows),
        with_summary=any(entry["summary"] for _, entry in rows),
    )
    name = f"{title}, {before + 1:,} to {before + len(rows):,}" if number or more else title
    return render_page(name, body, asset("index.css"), asset("index.js"))
