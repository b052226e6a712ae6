"""Who speaks: of a document whose lines are turns ("Anna: Good morning."), the name of each turn.

Rules on the text alone, in time linear in its length. In doubt a document is no dialogue: forms,
contracts and the heads of mails have lines of the same look, but few names twice, or no sentences
behind them.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from .sentences import Span

_LEAST_TURNS = 4
_LEAST_SPEAKERS, _LEAST_TURNS_OF_A_SPEAKER = 2, 2
_LEAST_SHARE_OF_LINES = 0.2  # what somebody says may go over several lines
_LEAST_SHARE_OF_SENTENCES = 0.5

# Maybe a time, a name, a colon: with a space behind it but for the wide one of East Asia, or after
# a letter of a script without spaces.
_TURN = re.compile(
    r"^[ \t]*+(?P<time>[\[(]?\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,3})?)?[\])]?[ \t]*+(?:-[ \t]*+)?)?"
    r"(?P<name>[^\W\d_][^\n:\uff1a]{0,39}?)[ \t]*+(?:\uff1a|:(?=\s)|(?<=[\u2e80-\u9fff]):)",
    re.MULTILINE,
)
_WORD = re.compile(r"[^\s()\[\]]+")
_PARTICLE = re.compile(
    r"(?:al|and|bin|d[aei]|del(?:la)?|de[nr]|do|dos|du|el|la|le|of|the|v[ao]n|y)\Z"
)
_SENTENCE_END = re.compile(
    r"[.!?\u2026\u3002\uff01\uff1f\u0964\u061f\u06d4][\"'\u2019\u201d\u00bb)\]}]*\Z"
)
_BEHIND = 200
_MOST_WORDS = 5


def speakers(text: str, sentences: Sequence[Span]) -> list[Span | None]:
    """Of each sentence where the name of the one who says it stands; None where nobody does.

    A sentence that begins with its turn holds the name itself.

    Args:
        text: The document.
        sentences: Start and end of each, in order.
    """
    turns = _turns(text)
    starts = [match.start() for match in turns]
    found: list[Span | None] = []
    for start, _ in sentences:
        place = bisect_right(starts, start) - 1
        # Of a line that is set in, the sentence begins behind its blanks.
        found.append(turns[place].span("name") if place >= 0 else None)
    return found


def _turns(text: str) -> list[re.Match[str]]:
    """The beginnings of turns; nothing where a document is no dialogue."""
    matches = [match for match in _TURN.finditer(text) if _is_name(match["name"])]
    counts = Counter(match["name"].casefold() for match in matches)
    known = {name for name, count in counts.items() if count >= _LEAST_TURNS_OF_A_SPEAKER}
    repeated = sum(counts[name] for name in known)
    if len(known) < _LEAST_SPEAKERS or repeated < max(_LEAST_TURNS, len(matches) / 2):
        return []
    lines = sum(1 for line in text.splitlines() if line.strip())
    if repeated < _LEAST_SHARE_OF_LINES * lines:
        return []
    ends = [*(match.start() for match in matches[1:]), len(text)]
    said = sum(
        _SENTENCE_END.search(text[max(match.end(), end - _BEHIND) : end].rstrip()) is not None
        for match, end in zip(matches, ends, strict=True)
    )
    return matches if said >= _LEAST_SHARE_OF_SENTENCES * len(matches) else []


def _is_name(text: str) -> bool:
    words = _WORD.findall(text)
    return (
        1 <= len(words) <= _MOST_WORDS
        and all(
            # Scripts without capitals have no lower case either.
            _PARTICLE.match(word) or not word[0].islower()
            for word in words
        )
        and not re.search(r"[!?;,]|[^\W\d_]{3,}\.", text)
    )
