"""What line ends did to a text's words: hyphens that they put in, and the marks of quoted mail.

A text stays as it is, and every span points into it; only what the encoder reads, what is counted
and what a summary shows is without these characters. They are found from the text alone, in time
linear in its length.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate

from .abbreviations import LINKING, words
from .sentences import QUOTE_MARKS, Span

# A hyphen at the end of a line, and the white space and the marks behind it, up to the next word.
_HYPHEN = re.compile(
    rf"[-\u2010\u00ad][ \t]*(?:\r\n|[\n\r])[ \t]*(?:{QUOTE_MARKS.pattern})?(?=[^\W_])"
)
_HEAD = re.compile(r"(?:[^\W_]|[-'’])*[^\W_]\Z")
_TAIL = re.compile(r"(?:[^\W_]|[-'’](?=[^\W_]))+")
_WORDS = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_MAX_WORD_CHARACTERS = 40
# "pre- and post-war": the hyphen stands for the end of a word that follows.
_SUSPENDED = words("and or nor und oder bis et ou y e o ed en of och og i lub a и или")
# Compounds that keep their hyphen where the text does not show the word without one.
_COMPOUNDS = words("self well non half cross quasi pseudo")
# Words of which many pairs are written with a hyphen: "long-term", "twenty-one", "six-year".
_FIRSTS = words(
    "long short mid full part real near first second third early late hard soft open high low "
    "multi single double one two three four five six seven eight nine ten twenty thirty forty "
    "fifty sixty seventy eighty ninety well better best all peut grand quatre vingt trente "
    "quarante cinquante soixante vis c'est au par là ci celui celle"
)
_SECONDS = words(
    "term time range scale level speed quality end run lived standing hand world party person "
    "dimensional way step year week day month hour page point based related driven oriented "
    "specific one two three four five six seven eight nine order class old being known made "
    "être mère père deux trois quatre cinq sept huit neuf dix vis à dessus dessous ci là"
)
_SECONDS_ALONE = words(
    "based related driven oriented specific dimensional то нибудь либо таки être même mêmes à"
)
# Pronouns behind a verb, of which the hyphen stays: "voudrait-il".
_PRONOUNS = words(
    "je tu il elle on nous vous ils elles ce t moi toi lui leur y en le la les ci là me te se lhe "
    "lhes lo los las no na nos vos o a os as то ка же"
)
# Ends of words, so that "self-govern-" and "ment" are one word.
_ENDINGS = re.compile(
    r"(?:ment|tion|sion|ing|ed|ly|ness|ity|ical|ally|able|ible|ence|ance|ers?|ies|ive|ous|ism|ist)"
    r"s?\b"
)
# Lines of quoted mail, one after the other.
_QUOTED_LINES = re.compile(r"(?:^[ \t]*>(?!=)[^\n\r]*(?:\r\n|[\n\r]|\Z))+", re.MULTILINE)
_MARKS = re.compile(rf"^[ \t]*({QUOTE_MARKS.pattern})", re.MULTILINE)


class LineEnds:
    """The characters of a text that are no part of its words.

    Args:
        text: Any text.
        sentences: Its sentences, sorted and disjoint; nothing is left out across two of them.
    """

    def __init__(self, text: str, sentences: Sequence[Span]) -> None:
        self.text = text
        found = sorted([*self._hyphens(), *self._marks()])
        ends = [end for _, end in sentences]
        self.left_out: list[Span] = []
        for start, end in found:
            # Marks that follow a hyphen are left out with it.
            if self.left_out and start < self.left_out[-1][1]:
                continue
            index = bisect_left(ends, end)
            if index < len(sentences) and sentences[index][0] <= start:
                self.left_out.append((start, end))
        self._starts = [start for start, _ in self.left_out]

    def read(self, start: int, end: int) -> str:
        """What a part of the text says."""
        return self.read_with_places(start, end)[0]

    def read_with_places(self, start: int, end: int) -> tuple[str, "Places"]:
        """The same, and where its characters stand in the text."""
        first = bisect_left(self._starts, start)
        if first and self.left_out[first - 1][1] > start:
            start = min(self.left_out[first - 1][1], end)
        own = self.left_out[first : bisect_left(self._starts, end)]
        if not own:
            return self.text[start:end], Places(start, [])
        pieces, position = [], start
        for leave, resume in own:
            pieces.append(self.text[position:leave])
            position = resume
        pieces.append(self.text[position:end])
        return "".join(pieces), Places(start, own)

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(_WORDS.findall(self.text.lower()))

    def _hyphens(self) -> Iterator[Span]:
        for match in _HYPHEN.finditer(self.text):
            begin, resume = match.span()
            if match.group()[0] == "\u00ad":
                yield begin, resume
                continue
            head = _HEAD.search(self.text[max(0, begin - _MAX_WORD_CHARACTERS) : begin])
            tail = _TAIL.match(self.text, resume, resume + _MAX_WORD_CHARACTERS)
            if head is None or tail is None or tail.group() in _SUSPENDED:
                continue
            together = self._is_one_word(head.group(), tail.group())
            yield begin if together else begin + 1, resume

    def _is_one_word(self, head: str, tail: str) -> bool:
        """Whether the hyphen between the parts of a word came with the line end."""
        before, after = head.rpartition("-")[2], tail.partition("-")[0]
        if not (before[-1:].isalpha() and after[:1].isalpha()) or len(before) == 1:
            return False  # 2010-2012, B-52, X-ray
        if after[0].isupper() and not (before.isupper() and len(before) > 1):
            return False  # Anglo-American
        if (before + after).lower() in self._words:
            return True
        if f"{before}-{after}".lower() in self._words or before.lower() in _COMPOUNDS:
            return False
        if before.lower() in LINKING or after.lower() in LINKING:
            return not ("-" in head or "-" in tail)
        pair = before.lower() in _FIRSTS and after.lower() in _SECONDS
        if pair or after.lower() in _SECONDS_ALONE:
            return False
        if "-" in tail:
            return _PRONOUNS.issuperset(tail.split("-")[1:])
        # "Baden-Württemberg", "self-government"
        return "-" not in head or before[0].isupper() or _ENDINGS.match(after) is not None

    def _marks(self) -> Iterator[Span]:
        if ">" not in self.text:
            return
        for block in _QUOTED_LINES.finditer(self.text):
            marks = list(_MARKS.finditer(self.text, *block.span()))
            for match in marks:
                number = self.text[match.end(1) : match.end(1) + 1].isdecimal()
                if len(marks) > 1 or not number:  # "> 5 years" may say more than five
                    yield match.span(1)


class Places:
    """Places in a text of the characters of a part that was read without some."""

    def __init__(self, start: int, left_out: Sequence[Span]) -> None:
        self._start = start
        sizes = list(accumulate(end - begin for begin, end in left_out))
        self._shifts = [0, *sizes]
        self._positions = [
            begin - start - shift for (begin, _), shift in zip(left_out, self._shifts, strict=False)
        ]

    def firsts(self, positions: list[int]) -> list[int]:
        """Where the characters at these positions stand."""
        return self._in_text(positions, bisect_right)

    def lasts(self, positions: list[int]) -> list[int]:
        """Where the characters before these positions end."""
        return self._in_text(positions, bisect_left)

    def _in_text(
        self, positions: list[int], bisect: Callable[[Sequence[int], int], int]
    ) -> list[int]:
        if not self._positions:
            return [position + self._start for position in positions]
        return [
            position + self._start + self._shifts[bisect(self._positions, position)]
            for position in positions
        ]
