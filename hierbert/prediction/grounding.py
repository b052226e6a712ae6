"""Which sentences another one comes from, and what it says that stands in none of them.

By rules over words, numbers, names and negations, in any script; what they cannot see is who did
what to whom. In doubt a word is taken for a name: what is flagged falls back to what is certain.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from hierbert.model.selection import is_unspaced
from hierbert.model.sentence_words import stems
from hierbert.model.words import WORD

# A sentence tells of so many others at most: what is put together of more is often made up.
_MOST_SOURCES = 2
# What a sentence must add to be one of them: two words, or a number or a name.
_LEAST_ADDED = 2
_OWN_WORDS = 0.5
_SHORT = 3  # letters of a word that says little by itself
_LONGEST_LOOP = 2  # times that three words may stand in one sentence

# Between two numbers or behind a letter a dash is no sign.
_NUMBER = re.compile(
    r"(?:((?<![\w.,:/%)])[-\u2212\u2013]|\b(?:minus|negative)\s)[$€£¥]?)?"
    r"(\d+(?:[.,:/]\d+)*)(\s?(?:%|percent\b|per cent\b|pct\b|٪|％))?",
    re.IGNORECASE,
)
_GROUPED = re.compile(r"(?!0)\d{1,3}(?:(?:,\d{3})+|(?:\.\d{3}){2,})")
# 1234 in German, and a little more than 1 in English.
_TWO_WAYS = re.compile(r"(?!0)\d{1,3}\.\d{3}")
_UNIT = re.compile(r"(?<=\d)(?:k|mn?|mln|bn?|bln|tn)\b|\b(?:mn|mln|bn|bln|tn)\b", re.IGNORECASE)
_UNITS = {"k": "thousand", "m": "million", "b": "billion", "t": "trillion"}


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _numbered(words: str, times: int = 1) -> dict[str, str]:
    return {word: str(times * number) for number, word in enumerate(words.split(), 2)}


_NUMERALS = _numbered(
    """two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen"""
)
_NUMERALS |= _numbered(
    """second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth
    fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"""
)
_NUMERALS |= _numbered("twenty thirty forty fifty sixty seventy eighty ninety", times=10)
_NUMERALS |= {"one": "1", "first": "1", "half": "half", "tens": "tens"}
# Hundreds are not a hundred.
_ROUND = ("dozen", "hundred", *_UNITS.values())
_NUMERALS |= {word: word for one in _ROUND for word in (one, f"{one}s")}
# What counts nothing.
_NO_NUMERAL = re.compile(r"\b(?:no[ -]one|one another)\b|^first,", re.IGNORECASE)
# Of English, French, German, Spanish, Italian, Portuguese, Dutch and Russian; letters of Chinese.
_NEGATIONS = _listed(
    """not no never none nobody nothing neither nor without cannot
    pas jamais rien sans aucun aucune nicht kein keine keinen keinem keiner nie niemals ohne
    nunca sin ningún ninguno ninguna non senza nessuno não nem sem niet geen nooit zonder
    не нет без никогда ни 不 没 沒 無 无 未"""
)
_NOT = re.compile(r"(?<=[a-z])n['’]t\b|(?<=can)not\b", re.IGNORECASE)
# Before what it negates, so many words.
_REACH = 4
# What begins a sentence and is no name.
_BEGINNERS = _listed(
    """about according additionally after again against along also although among another around
    because been before being below besides between beyond both consequently could despite during
    each either even every finally first firstly from further furthermore given have hence here
    however instead into just last lastly later likewise many meanwhile more moreover most much
    nevertheless nonetheless notably once only other otherwise over overall rather same several
    should similarly since some still subsequently such than that their them then there therefore
    these they this those though through throughout thus today together under unlike until upon
    very were what when where whereas whether which while will with within without would your
    secondly thirdly
    a all an and any are as at but by can did do due few for had has he her his how i if in is it
    its my new no nor not now of off on or our out own she so the to too up us via was we who why
    yet you"""
)
# Short ones of the other languages that are hardly ever names of people.
_BEGINNERS |= _listed(
    """am auf aus bei dem den der die ein er es für ich im nur sie um und uns vom wir wo zum zur
    au aux ce ces cet en et il ils la mes nos où par qui sur un une así con el esa ese las los más
    muy por se sin sus y gli nei nel più uno ao aos às com dos foi já os ou que são uma dat dit een
    het hij ik
    а в во вы да для до её ему его же за и из или им их к как ко мы на над не но о об он она они
    оно от по под при про с со так там то ты у уже что это эта эти я"""
)


class Grounds(NamedTuple):
    """What a sentence stands on."""

    # Which of some others it comes from, ascending; none where it shares no words.
    sources: list[int]
    # What it says and they do not, such as "number: 4"; none where it says what they do.
    flags: list[str]


class Said:
    """What a sentence says, as far as rules see it."""

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())

    @cached_property
    def words(self) -> list[str]:
        """In order, without regard to case; contracted negations are words."""
        return WORD.findall(_NOT.sub(" not", self.text).casefold())

    @cached_property
    def content(self) -> set[str]:
        """The words that say something by themselves, each by its first letters."""
        long = (word for word in self.words if len(word) > _SHORT or is_unspaced(word))
        return {stem for word in long for stem in stems(word)} - self.numbers

    @cached_property
    def numbers(self) -> set[str]:
        """Numbers in one form, whether by digits or in (English) words, and their units."""
        found = {
            ("-" if match[1] else "") + _plain_number(match[2]) + ("%" if match[3] else "")
            for match in _NUMBER.finditer(self.text)
        }
        found |= {_UNITS[match[0][0].lower()] for match in _UNIT.finditer(self.text)}
        words = WORD.findall(_NO_NUMERAL.sub(" ", self.text).casefold())
        return found | {_NUMERALS[word] for word in words if word in _NUMERALS}

    @cached_property
    def names(self) -> set[str]:
        """Words with a capital letter; of the first one only where it may be no other word."""
        text = _NOT.sub(" not", self.text)
        words = [match[0] for match in WORD.finditer(text) if match[0][0].isalpha()]
        found = {word.casefold() for word in words[1:] if word[0].isupper()}
        if words and words[0][0].isupper():
            first = words[0].casefold()
            # In capitals it is "US" or "IT", and with a digit "Q3", which is a number too.
            large = 1 < len(first) <= _SHORT and words[0].isupper()
            begins = first in _BEGINNERS and not large
            counts = first in _NUMERALS or (len(first) <= _SHORT and not first.isalpha())
            if not begins and not counts:
                found.add(first)
        return found - {"i"} - _NUMERALS.keys()

    @cached_property
    def negations(self) -> list[int]:
        """Where the words are that negate."""
        return [place for place, word in enumerate(self.words) if word in _NEGATIONS]

    @cached_property
    def negated(self) -> list[str]:
        """Of each negation what is negated: the first word behind that says something by itself."""
        found = []
        for place in self.negations:
            after = " ".join(self.words[place + 1 : place + 1 + _REACH])
            found += [s for s in stems(after) if s in self.content][:1]
        return found

    @property
    def loops(self) -> bool:
        """Whether the same three words stand there over and over."""
        runs = Counter(zip(self.words, self.words[1:], self.words[2:], strict=False))
        return max(runs.values(), default=0) > _LONGEST_LOOP


def grounds(sentence: Said, others: Sequence[Said]) -> Grounds:
    """Which of some others a sentence comes from, and what it says that those do not."""
    sources = _sources(sentence, others)
    own = [others[source] for source in sources]
    words = {word for one in own for word in one.words}
    shared = {stem for word in words for stem in stems(word)}
    flags = []
    if sentence.content and len(sentence.content & shared) < _OWN_WORDS * len(sentence.content):
        flags.append("words")
    numbers = {number for one in own for number in one.numbers}
    if not numbers and words & {"a", "an"} and "1" not in sentence.words:
        numbers = {"1"} if "one" in sentence.words else numbers
    flags += [f"number: {number}" for number in sorted(sentence.numbers - numbers)]
    names = {name for name in sentence.names if not {name, f"{name}s", name.rstrip("s")} & words}
    # The first word is large whatever it is: another form of a word of theirs is no name.
    if sentence.words and set(stems(sentence.words[0])) & shared:
        names.discard(sentence.words[0])
    flags += [f"name: {name}" for name in sorted(names)]
    # Each of theirs, of which what they negate is told again, has one here, and no other has.
    flags += [
        f"negation: {sentence.words[place]}"
        for place in sentence.negations[sum(len(one.negations) for one in own) :][:1]
    ]
    told = sum(word in sentence.content for one in own for word in one.negated)
    if len(sentence.negations) < told:
        flags.append("negation left out")
    return Grounds(sources, flags)


def _sources(sentence: Said, others: Sequence[Said]) -> list[int]:
    """The fewest others, about, that hold the most of what a sentence says."""
    left = Counter(dict.fromkeys(sentence.content, 1))
    left |= dict.fromkeys(sentence.names, _LEAST_ADDED)
    left |= dict.fromkeys(sentence.numbers, _LEAST_ADDED)
    found: list[int] = []
    while len(found) < _MOST_SOURCES:
        gains = []
        for other in others:
            there = other.content | other.numbers | set(other.words)
            gains.append(sum(weight for item, weight in left.items() if item in there))
        # A sentence of one word adds no more than that.
        least = _LEAST_ADDED if found else min(_LEAST_ADDED, left.total())
        if not gains or max(gains) < max(1, least):
            break
        best = gains.index(max(gains))
        found.append(best)
        there = others[best].content | others[best].numbers | set(others[best].words)
        left = Counter({item: weight for item, weight in left.items() if item not in there})
    return sorted(found)


def _plain_number(digits: str) -> str:
    """One form of a number: without what parts its groups, and without zeros that say nothing.

    One that has two readings is like none but itself.
    """
    if _GROUPED.fullmatch(digits):
        digits = re.sub("[.,]", "", digits)
    two_ways = _TWO_WAYS.fullmatch(digits)
    digits = digits.replace(",", ".")
    if digits.count(".") == 1 and not two_ways:
        digits = digits.rstrip("0").rstrip(".")
    # Digits of any script.
    plain = "".join(str(int(one)) if one.isdecimal() else one for one in digits)
    return plain.lstrip("0") or "0"
