"""Scripts and languages: which there are, in which split, and letters of two in one word.

A language is told by the commonest words of those that are known here, in texts of the Latin script
with enough words; of others nothing is said.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any

from typing_extensions import override

from hierbert.checking.check import Check, register_check
from hierbert.checking.corpus import CheckedCorpus, ReadDocument
from hierbert.checking.finding import Finding

_WORDS_OF = {
    "English": "the of and to in is that it was for on are with as this be have not you but from",
    "German": "der die und das ist nicht ein eine den von mit dem sich des im auf für auch als wir",
    "French": "le la les et des est une du que dans qui pas pour sur au ce avec il sont nous plus",
    "Spanish": "el los las que es una del por con para se como más pero su este está fue muy ya",
    "Italian": "il che di è una per non della con sono gli nel dei alla più anche questo come ha",
    "Portuguese": "o os que não uma do da em para com se mais como dos das foi ao são pelo também",
    "Dutch": "het een van en is dat niet op te voor zijn met ook aan er maar bij naar wordt deze",
    "Swedish": "och att det som en är av för på inte med den till ett har om jag var han men",
    "Polish": "i w na nie się że jest do to z jak po co ale tak od za przez dla już",
    "Turkish": "ve bir bu için da ile olarak çok daha gibi sonra ne kadar olan var ama değil ise",
}
_LANGUAGES_OF: dict[str, list[str]] = defaultdict(list)
for _language, _words in _WORDS_OF.items():
    for _word in _words.split():
        _LANGUAGES_OF[_word].append(_language)
# Of the words of a text, as many times as of the next language, and different ones: tables, lists
# and code have some of them many times.
_SHARE, _TIMES, _DIFFERENT = 0.12, 1.5, 8
_FEWEST_WORDS, _MOST_CHARACTERS = 50, 20_000
_WORD = re.compile(r"[^\W\d_]+")
# Greek and Latin letters stand in one word in formulas, Cyrillic ones by mistake or on purpose.
_LOOK_ALIKE = re.compile(r"(?:[a-zA-Z][\u0400-\u04ff]|[\u0400-\u04ff][a-zA-Z])")
# Of the letters of a document.
_SECOND_SCRIPT = 0.2
_FEW = 0.02


@register_check
class Scripts(Check):
    """The script and the language of each document."""

    name, place = "languages", 5

    @override
    def begin(self) -> None:
        self._kind: dict[int, str] = {}
        self._mixed: list[int] = []
        self._look_alike: list[int] = []

    @override
    def add(self, document: ReadDocument) -> None:
        text = document.text[:_MOST_CHARACTERS]
        if not text.isascii() and _LOOK_ALIKE.search(text):
            self._look_alike.append(document.number)
        letters = _letters_of(text)
        if not letters:
            return
        (script, _), *others = letters.most_common(2)
        if others and others[0][1] >= _SECOND_SCRIPT * letters.total():
            self._mixed.append(document.number)
        kind = language_of(text) if script == "Latin" else f"{script} script"
        if kind is not None:
            self._kind[document.number] = kind

    @override
    def findings(self, corpus: CheckedCorpus) -> Iterable[Finding]:
        if self._look_alike:
            yield corpus.finding(
                "warning",
                "letters_of_two_scripts_in_a_word",
                self._look_alike,
                "hold words of Latin and Cyrillic letters, which look alike and are not",
                "write such words in one script",
            )
        if self._mixed:
            yield corpus.finding(
                "note",
                "mixed_scripts",
                self._mixed,
                f"are written in two scripts, at least {100 * _SECOND_SCRIPT:.0f} % in the second",
                "look whether they are translations side by side",
            )
        kinds = {
            split: Counter(self._kind[n] for n in numbers if n in self._kind)
            for split, numbers in corpus.splits.items()
        }
        new = [
            number
            for split, numbers in corpus.splits.items()
            for number in numbers
            if split != "train" and number in self._kind and not kinds["train"][self._kind[number]]
        ]
        if new:
            names = ", ".join(sorted({self._kind[number] for number in new}))
            many = len(new) > _FEW * (corpus.size - len(corpus.splits["train"]))
            yield corpus.finding(
                "warning" if many else "note",
                "languages_that_train_lacks",
                new,
                f"are in a language or script that no training document is in: {names}",
                "give training documents of it, or leave these out",
            )
        all_kinds: Counter[str] = sum(kinds.values(), Counter())
        (main, _), *rest = all_kinds.most_common() or [("", 0)]
        if rest:
            others = [n for n in sorted(corpus.split_of) if self._kind.get(n, main) != main]
            listed = ", ".join(f"{name} {count:,}" for name, count in all_kinds.most_common(6))
            yield corpus.finding(
                "note",
                "several_languages",
                others,
                f"are in another language or script than most: {listed}",
                "an encoder of many languages reads them; one of English does not",
            )

    @override
    def facts(self, corpus: CheckedCorpus) -> dict[str, Any]:
        return {
            split: dict(Counter(self._kind.get(number, "not told") for number in numbers))
            for split, numbers in corpus.splits.items()
        }


def _letters_of(text: str) -> Counter[str]:
    """How many letters of each script a text has."""
    if text.isascii():
        count = sum(map(len, _WORD.findall(text)))
        return Counter({"Latin": count} if count else {})
    found: Counter[str] = Counter()
    for letter, count in Counter(text).items():
        if letter.isalpha():
            found[_script_of(letter)] += count
    return found


@cache
def _script_of(letter: str) -> str:
    """As Unicode names it; the scripts of Japanese and Chinese are one, for texts mix them."""
    name = unicodedata.name(letter, "OTHER").split()[0].split("-")[0]
    if name in ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "IDEOGRAPHIC", "HALFWIDTH"):
        return "Chinese or Japanese"
    if name in ("FEMININE", "MASCULINE", "MODIFIER", "FULLWIDTH", "MATHEMATICAL", "SCRIPT"):
        return "Latin"
    return name.capitalize()


def language_of(text: str) -> str | None:
    """The language of a text in the Latin script; None where it is not sure."""
    words = _WORD.findall(text.lower())
    if len(words) < _FEWEST_WORDS:
        return None
    found = Counter(language for word in words for language in _LANGUAGES_OF.get(word, ()))
    (best, count), *others = found.most_common(2) or [("", 0)]
    second = others[0][1] if others else 0
    different = len({word for word in words if best in _LANGUAGES_OF.get(word, ())})
    sure = count >= _SHARE * len(words) and count >= _TIMES * second and different >= _DIFFERENT
    return best if sure else None
