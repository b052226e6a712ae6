"""Characters that no one meant to write: lost ones, wrong encodings, orders to a terminal."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from typing_extensions import override

from hierbert.checking.check import Check, register_check
from hierbert.checking.corpus import CheckedCorpus, ReadDocument
from hierbert.checking.finding import Finding


class _Kind(NamedTuple):
    """Characters of one kind; `needs` is a quick look that rules most texts out."""

    name: str
    pattern: re.Pattern[str]
    what: str
    advice: str
    severity: str = "warning"


_READ_AGAIN = "read the source again in the encoding it was written in (data.encoding)"
# What UTF-8 of Latin letters, quotes and dashes becomes when it is read as Windows-1252.
_MOJIBAKE = (
    r"[ÂÃ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰‹Œ‘’“”•–—˜™›œ]"
    r"|â(?:€[\u0080-\u00bf™œ˜¦“”¢\u009d]|„¢|†[’‘]|€)|ï»¿"
)
_KINDS = (
    _Kind("nul_characters", re.compile("\0"), "NUL characters", "remove them"),
    _Kind(
        "replacement_characters",
        re.compile("\ufffd"),
        "U+FFFD, in the place of characters that were lost",
        _READ_AGAIN,
    ),
    _Kind(
        "mojibake",
        re.compile(_MOJIBAKE),
        "UTF-8 that was read in another encoding, such as 'Ã©' for 'é'",
        _READ_AGAIN + ", or repair it (ftfy)",
    ),
    _Kind(
        "control_characters",
        # Tabs, the ends of lines and of pages are text; NUL is told above.
        re.compile("[\x01-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]"),
        "control characters",
        "remove them",
    ),
    _Kind(
        "bidi_overrides",
        re.compile("[\u202d\u202e]"),
        "U+202D or U+202E, which show text in another order than it is read",
        "remove them, and look at these documents",
    ),
    _Kind(
        "lone_surrogates",
        re.compile("[\ud800-\udfff]"),
        "halves of characters (lone surrogates)",
        _READ_AGAIN,
    ),
    _Kind(
        "markup",
        re.compile(
            r"</(?:p|div|span|td|tr|table|li|ul|a|b|i|h[1-6])>|<br ?/?>"
            r"|&(?:amp|lt|gt|quot|nbsp|#\d{2,5}|#x[0-9a-fA-F]{2,5});"
        ),
        "tags or entities of HTML",
        "give .html files as they are, which are read without their markup, or remove it",
        "note",
    ),
    _Kind(
        "private_characters",
        re.compile("[\ue000-\uf8ff]"),
        "characters of private use, as symbol fonts of PDFs leave them",
        "look what they stand for",
        "note",
    ),
)
# Of a corpus: then what is else a note misleads.
_MANY = 0.1


@register_check
class Characters(Check):
    """Odd characters, by kind."""

    name = "characters"

    @override
    def begin(self) -> None:
        self._found: dict[str, list[int]] = {kind.name: [] for kind in _KINDS}
        self._counts = dict.fromkeys(self._found, 0)

    @override
    def add(self, document: ReadDocument) -> None:
        for kind in _KINDS:
            if kind.pattern.search(document.text):
                self._found[kind.name].append(document.number)
                self._counts[kind.name] += len(kind.pattern.findall(document.text))

    @override
    def findings(self, corpus: CheckedCorpus) -> Iterable[Finding]:
        for kind in _KINDS:
            if numbers := self._found[kind.name]:
                times = self._counts[kind.name]
                severity = kind.severity
                if kind.severity == "note" and len(numbers) > _MANY * corpus.size:
                    severity = "warning"
                yield corpus.finding(
                    severity,
                    kind.name,
                    numbers,
                    f"hold {kind.what}, {times:,} in all",
                    kind.advice,
                    occurrences=times,
                )
