"""What pages leave in a text: their numbers, headers and footers, and words cut at line ends."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from typing_extensions import override

from hierbert.checking.check import Check, register_check
from hierbert.checking.corpus import CheckedCorpus, ReadDocument
from hierbert.checking.finding import Finding

# A line of a page's number alone, also as "- 3 -", "Page 3" and "3 of 12".
_PAGE_NUMBER = re.compile(
    r"\W*(?:page|seite|p\.|pg\.?)?\s*(\d{1,4})(?:\s*(?:/|of|von|de|sur)\s*\d{1,4})?\W*",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"\d+")
_HYPHEN = re.compile(r"[^\W\d_]{2}-[ \t]*\r?\n[ \t]*[a-zß-ÿ]{2}")
# Pages in a row, and copies of a line, that are no accident.
_FEWEST_PAGES, _FEWEST_COPIES = 4, 5
_LONGEST_LINE, _MOST_LINES = 120, 2
# A page has at least so many lines that are not blank.
_FEWEST_LINES = 12
_FEWEST_HYPHENS = 3
_MANY = 0.1


@register_check
class Pages(Check):
    """Repeated headers and footers, page numbers in a row, hyphens at line ends."""

    name = "pages"

    @override
    def begin(self) -> None:
        self._pages: list[int] = []
        self._hyphens: list[int] = []
        self._lines = self._hyphenated = 0

    @override
    def add(self, document: ReadDocument) -> None:
        hyphens = len(_HYPHEN.findall(document.text))
        if hyphens >= _FEWEST_HYPHENS:
            self._hyphens.append(document.number)
            self._hyphenated += hyphens
        if lines := page_lines(document.text):
            self._pages.append(document.number)
            self._lines += lines

    @override
    def findings(self, corpus: CheckedCorpus) -> Iterable[Finding]:
        if numbers := self._pages:
            yield corpus.finding(
                "warning" if len(numbers) > _MANY * corpus.size else "note",
                "page_headers",
                numbers,
                f"hold page numbers, or the same header or footer page by page, {self._lines:,} "
                "lines in all",
                "remove these lines: they cut sentences, and may give a label away",
                lines=self._lines,
            )
        if numbers := self._hyphens:
            yield corpus.finding(
                "note",
                "hyphens_at_line_ends",
                numbers,
                f"hold words that are cut at line ends, {self._hyphenated:,} in all",
                "the model reads most of them as one word; other tools do not",
                hyphens=self._hyphenated,
            )


def page_lines(text: str) -> int:
    """How many lines of a text are likely those of pages: numbers, headers and footers."""
    if text.count("\n") < _FEWEST_PAGES * 2:
        return 0
    lines = [line for raw in text.split("\n") if (line := raw.strip())]
    numbers: list[tuple[int, int]] = []
    copies: dict[str, list[int]] = defaultdict(list)
    for place, line in enumerate(lines):
        if len(line) > _LONGEST_LINE:
            continue
        if match := _PAGE_NUMBER.fullmatch(line):
            numbers.append((place, int(match[1])))
        elif len(line) > 3 and any(letter.isalpha() for letter in line):
            copies[line if line.isalpha() else _DIGITS.sub("#", line)].append(place)
    # A sentence, a speaker's name and a heading of a table come again at any distance.
    again = [
        len(places)
        for line, places in copies.items()
        if not line.endswith((".", ":", "?", "!", ",", ";")) and _is_regular(places, len(lines))
    ]
    # A page has a header and a footer; of more lines that come again, tables are made.
    return _in_a_row(numbers) + (sum(again) if len(again) <= _MOST_LINES else 0)


def _in_a_row(numbers: Sequence[tuple[int, int]]) -> int:
    """Lines of numbers that grow by 1 from page to page; 0 for fewer than some pages."""
    best, run = 0, 0
    last: tuple[int, int] | None = None
    for place, number in numbers:
        if last is not None and number == last[1] + 1 and place - last[0] >= _FEWEST_LINES:
            run += 1
        else:
            run = 1
        best, last = max(best, run), (place, number)
    return best if best >= _FEWEST_PAGES else 0


def _is_regular(places: Sequence[int], lines: int) -> bool:
    """Whether a line comes again about as often as a page ends, from one end to the other."""
    if len(places) < _FEWEST_COPIES:
        return False
    gaps = sorted(after - before for before, after in pairwise(places))
    median = gaps[len(gaps) // 2]
    regular = gaps[0] >= max(_FEWEST_LINES, median / 2) and gaps[-1] <= 2 * median
    return regular and places[-1] - places[0] >= 0.7 * lines
