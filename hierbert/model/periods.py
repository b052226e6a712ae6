"""Whether a period ends a sentence or only shortens the word, or orders the number, before it.

Each period is judged by the word before it, which kind of abbreviation that is, and by what
follows: a number, a small letter, a capital, the first word of a sentence. The tables of words are
those of `abbreviations.py`; a few shapes show an abbreviation that is in none of them.
"""

import re
from functools import cached_property

from .abbreviations import (
    AND_SO_ON,
    BEFORE_OFFICES,
    BEFORE_ORDINALS,
    CAPITALIZED,
    ENDERS,
    IN_CAPITALS,
    LASTS_OF_NAMES,
    MEASURES,
    MONTHS,
    NEVER,
    NUMBERED,
    OF_COURTS,
    OF_DOCTORS,
    OF_HOURS,
    OF_NAMES,
    OF_OFFICES,
    ORDINAL_LANGUAGES,
    ORDINARY,
    STARTERS,
    STARTERS_BEFORE_SMALL,
)

# Joiners and marks that take no room, and so hide between a terminator and the space behind it.
INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\ufe0f"
OPENERS = "\"'“‘«‹„‚([{「『【〈《（［｛〔〖〝`*_¿¡" + INVISIBLE
_OPENERS_AND_CURRENCIES = OPENERS + "$£€¥"
# Words that also end sentences before a reference: "He said no. Fig. 5 shows it."
_ORDINARY_BEFORE_REFERENCES = frozenset(("no", "No", "art", "app", "ex", "ok"))
_HOURS = frozenset(("a.m", "p.m"))
# Page, circa, versus, clause: a capital or a number may follow them.
_SINGLE_LETTERS = frozenset("pcvl")
_MAX_WORD_CHARACTERS = 30  # no abbreviation is longer
_MAX_ENUMERATOR_CHARACTERS = 24
_SAMPLE_CHARACTERS = 1_000_000  # of the text, for what is common in it
# Letters without case that shorten a word: Hebrew, Arabic, Syriac; Thai and Lao have no period.
CASELESS = re.compile("[\u05d0-\u07bf\u0900-\u0dff]")
_THAI = re.compile("[\u0e01-\u0eff]")
# Behind a number: years of both calendars, hours, metres; and what goes on behind them: "and",
# prepositions, "about", "or", "corresponding to".
_ARABIC_UNITS = frozenset(("م", "هـ", "ه", "ص", "ق.م", "ق.هـ", "كم", "سم", "كغ", "مل", "ملغ", "غ"))
_ARABIC_GOES_ON = re.compile(
    r"(?:في|من|إلى|الى|على|عن|مع|حتى|بعد|قبل|عند|منذ|خلال|بين|أو|إن|إذا|تقريبا|الموافق|أي|لل?\w+"
    r"|ب\w+|و\w+|فقط|مساء|صباحا|عرضا|طولا)\b|[\d/]"
)
_ENUMERATOR = re.compile(
    r"(?:(?:section|article|chapter|part|clause|sec\.|art\.|§{1,2})\s{0,3})?"
    r"[(\[]?(?:\d{1,3}(?:\.\d{1,3}){0,5}|[A-Za-z]|[ivx]{1,5}|[IVX]{1,5})",
    re.IGNORECASE,
)
_FOOTNOTE = re.compile(r"\d{1,2}[^\W\d_]")  # "w. 4Often known as"
_ELISION = re.compile(r"\A[^\W\d_]{1,5}['’](?=[^\W\d_]{2})")
_DOCTOR = re.compile(r"\b(?:Dr|[Rr]er|Dipl)\. ?\w+\Z", re.IGNORECASE)
_DOTTED = re.compile(r"(?:[^\W\d_]{1,2}\.-?)+[^\W\d_]{1,2}")
_DOT_OR_NUMERAL = re.compile(r"\.|[\dIVX]\Z")
_SPACED_DOTTED = re.compile(
    r"(?:(?<=[\s(\[„“«\"])|\A)(?:[^\W\d_]{1,2}\.[ \u00a0\u202f])+[^\W\d_]{1,3}\Z"
)
# Capitalized and without a vowel: Pvt, Blvd, Sgt; h and m would take in "Shh" and "Hmm".
_CONSONANTS = re.compile("[B-DF-HJ-NP-TV-Z][bcdfgjklnpqrstvwxz]{1,3}")
_SMALL_CONSONANTS = re.compile("[bcdfghjklmnpqrstvwxzčďľłńřśšťžźżбвгджзклмнпрстфхцчшщ]{2,5}")
# No whole word ends so: "str", "durchschn", "párr", "fracc".
_TRUNCATED = re.compile(r"(?:[sS]tr|[a-z](?:[bcdfgkpv][lr]|rr|cc|sch[lnw]))\Z")
# Behind a small letter, a shortened word with a capital: "u. Co.", "n. Chr.", "d. Gr."
_SHORT_CAPITALIZED = re.compile(r"([^\W\d_]{1,3})\.")
_COUNT = re.compile(r"(?:\d|\s(?:тыс|млн|млрд|tys|mln|mld)\.?)\s?\Z")
_DEGREES = re.compile(r"[CF]\b")  # "36 st. C"
_ROMAN = re.compile(r"(?:[VX]|[IVXLC]{2,6})(?![-\w])")
_ZONE = re.compile(r"\w+ [Tt]ime\b")  # "5 p.m. Toronto time"
# The number of a heading or an item: "9.4 Waivers", "4. The".
_HEADING_NUMBER = re.compile(r"\d+(?:\.\d+)*(?:[.)]\s|\s+[\"“(]?[A-Z])")
_CONSONANT_END = re.compile(r"[^aeiouyäöüаеёиоуыэюяьй\d\W_]\Z")
# "in N.J. Profits rose": states, what stands before a place, and a subject of small letters.
_STATE = re.compile(r"N\.[CDHJMY]|S\.[CD]|R\.I|D\.C|P\.R|B\.C|L\.A")
_BEFORE_STATES = frozenset(("in", "from", "near", "to", "at", "across", "Washington"))
_PLURAL_SUBJECT = re.compile(r"[A-Z][a-z]{2,}s\s(?!and\b|or\b|of\b|in\b|on\b|for\b)[a-z]")
_OF_A_REGION = re.compile(r"\w+ск(?:ого|ой|ий|ая)\b")  # "Тульской обл. Ефремовского р-на"
_COURT = re.compile(r"[^\W\d_a-zà-ÿа-яё]{2,5}\b")  # "см. опр. ВС РФ", "wyr. SN"
_PLURAL = re.compile(r"([A-Z])\1\.\s([A-Z])\2\b")
_NUMERAL = re.compile(r"(?:[IVXLC]{1,6}|[A-Z])(?=[\d.,;:)\]])|[IVXLC]{2,6}\b|[B-HJ-Z]\b")
# A number that is no count of what follows: "Stat. 119, 121" unlike "Bob. 3 people".
_BARE_NUMBER = re.compile(r"\d+(?:[,;)\](§]|[-–]\d)")
# Numbers of two references: "Hand. 5 en Openb. 3".
_TWO_REFERENCES = re.compile(r"\d+\s(?:and|und|et|y|e|en|i|og|och|и)\s(?:\d|[^\W\d_]{1,8}\.\s?\d)")
# "5. 3. 1990" and "5. III. 1990", or, where numbers with a period are ordinals, "5. 3." (group 1).
_DATE = re.compile(
    r"(?<![\w.,])(?:0?[1-9]|[12]\d|3[01])\.\s"
    r"(?:0?[1-9]|1[0-2]|I{1,3}|IV|VI{0,3}|IX|XI{0,2})(?:\.\s?\d{4}(?!\w)|(\.))"
)
# A reference behind a shortened word: "gem. Art. 5"; the word "number" and its signs: "r. Nr 88".
_REFERENCE = re.compile(r"([^\W\d_]{1,8})\.\s?\d")
_NUMBER_WORD = re.compile(r"(?:[Nn]rn?\.?|[Nn]\.?[°º]|№|[Čč]\.)\s?\d")
_MONTH_NAME = re.compile(
    "(?:Jan|Feb|M[äa]r|Apr|Ma[iy]|Jun|Jul|Aug|Sep|O[kc]t|Nov|De[zc])[a-zé]{0,7}(?![a-zé])"
)
_DAY_AND_MONTH = re.compile(r"\d{1,2}\.?\s(?:de\s)?[a-zäéûа-я]{3,10}\.?\s(?:de\s)?[12]\d{3}\b")
_TITLES = NEVER | CAPITALIZED
_FIRST_WORDS = re.compile(r"([^\W\d_]+)((?:['’]\w{1,2})?,?)(\s?)(.?)", re.DOTALL)
WORD = re.compile(r"[^\W\d_]+")
_SHORT_PLAIN_WORD = re.compile(r"\b[^\W\d_]{2,5}\b(?!\.)")
_PLAIN_WORD = re.compile(r"[^\W\d_]+(?![\w.(:=])")
_KNOWN = NEVER | NUMBERED | ENDERS | AND_SO_ON | MONTHS | CAPITALIZED | OF_DOCTORS | OF_OFFICES


class Writing:
    """What the whole text tells about the words in it, read from its first characters.

    Attributes:
        lower_cased: No capitals: a small letter may start a sentence.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.sample = text[:_SAMPLE_CHARACTERS]
        self.lower_cased = self.sample[:20_000].islower()

    @cached_property
    def plain_words(self) -> frozenset[str]:
        """Short words that stand somewhere without a period: no abbreviations."""
        return frozenset(_SHORT_PLAIN_WORD.findall(self.sample))

    @cached_property
    def dandas(self) -> bool:
        """Whether sentences end with a danda, and a period only shortens words of the script."""
        return "।" in self.text

    @cached_property
    def ordinals(self) -> bool:
        """Whether the language writes ordinal numbers with a period, by its commonest words."""
        words = WORD.findall(self.text[:2_000].lower())
        return 10 * sum(word in ORDINAL_LANGUAGES for word in words) >= len(words)


def last_word(text: str, start: int, end: int) -> str:
    """The word before `end`, with its punctuation."""
    words = text[max(start, end - _MAX_WORD_CHARACTERS) : end].rsplit(None, 1)
    return words[-1].lstrip(_OPENERS_AND_CURRENCIES) if words else ""


def begins_a_sentence(text: str, position: int) -> bool:
    """Whether the words at `position` look like the first ones of a sentence."""
    match = _FIRST_WORDS.match(text, position)
    if match is None:
        return False
    word, tail, space, following = match.groups()
    if word in STARTERS:
        behind = text[match.end(1) : match.end(1) + 1]
        if behind in ("'", "’"):  # "It's time"
            return len(tail) > 1 and following.islower()
        return behind not in (".", "-", "_")
    if tail and len(word) < 3 and word in ("L", "C", "D", "J", "M", "N", "S", "T", "Qu"):
        return text[match.end(1) + 1].islower()
    if word not in STARTERS_BEFORE_SMALL or not space or not following.islower():
        return False
    return first_word(text, match.start(4)) not in OF_NAMES


def first_word(text: str, position: int) -> str:
    """The word at `position`, if it is a plain one."""
    match = _PLAIN_WORD.match(text, position)
    return match.group() if match else ""


def in_date(text: str, begin: int, writing: Writing) -> bool:
    """Whether the period at `begin` stands behind the day or the month of a date in numbers."""
    if not (text[begin - 1].isdecimal() or text[begin - 1] in "IVX"):
        return False
    date = _DATE.search(text, max(0, begin - 8), begin + 12)
    if date is None or date.start() > begin:
        return False
    if date.group(1):
        return begin < date.start(1) and writing.ordinals
    return begin < date.end()


def only_shortens(
    text: str, start: int, begin: int, stop: int, position: int, writing: Writing
) -> bool:
    """Whether a period only shortens the word before it, or numbers an item.

    Args:
        text: The whole text.
        start: Where the sentence starts.
        begin: The period.
        stop: Behind the period and what closes with it: quotes, brackets.
        position: The first letter behind it and behind what opens there.
        writing: What the whole text tells.
    """
    if begin - start <= _MAX_ENUMERATOR_CHARACTERS and _ENUMERATOR.fullmatch(text, start, begin):
        return True
    if begin - start > 1 and text[begin - 2] == " " and text[begin - 1].isalpha():
        word = text[begin - 1]
    else:
        word = last_word(text, start, begin)
        if "'" in word or "’" in word:  # "l'art. 5"
            word = _ELISION.sub("", word)
    if not word:
        return False
    if "\u0900" <= word[-1] <= "\u09ff" and writing.dandas:
        return True
    lower = word.lower()
    if "ء" <= lower[0] <= "ي":
        if lower in _ARABIC_UNITS and last_word(text, start, begin - len(word))[-1:].isdecimal():
            return _ARABIC_GOES_ON.match(text, position) is not None
        if len(lower) > 1:
            lower = lower.removeprefix("و").removeprefix("ال")  # "and", "the"
            if len(lower) == 1:
                return True
    first = text[position : position + 1]
    number = first.isdecimal() or (
        first in "Nn№Čč" and _NUMBER_WORD.match(text, position) is not None
    )
    if lower not in _KNOWN:  # most words
        if not word.isalpha():
            plain = len(word) > 3 and word.isascii() and not _DOT_OR_NUMERAL.search(word)
        elif len(word) > 5:
            return number and _TRUNCATED.search(word) is not None  # "Hauptstr. 5"
        else:
            spaced = len(word) <= 3 and text[begin - len(word) - 2] == "."
            plain = len(word) == 5 or (len(word) > 1 and word.islower() and not spaced)
        if plain and not number:
            return False
    period = _Period(text, start, begin, stop, position, writing, word, lower, first, number)
    return period.only_shortens()


class _Period:
    """A period behind what may be a short form, with the rules for each kind of these.

    Attributes:
        word: What stands before it, and `lower`, the same as the tables have it.
        first: The first letter behind it; "" if there is none.
        number: Whether a number follows, or the word "number".
        alone: Whether white space stands between them, as tokenized text has it.
    """

    def __init__(
        self,
        text: str,
        start: int,
        begin: int,
        stop: int,
        position: int,
        writing: Writing,
        word: str,
        lower: str,
        first: str,
        number: bool,
    ) -> None:
        self.text, self.start, self.begin, self.stop = text, start, begin, stop
        self.position, self.writing = position, writing
        self.word, self.lower, self.first, self.number = word, lower, first, number
        self.alone = begin > start and text[begin - 1].isspace()

    def _closed(self) -> bool:
        """Whether a bracket closes behind the period."""
        return ")" in self.text[self.begin + 1 : min(self.stop, self.begin + 4)]

    def _before(self) -> str:
        """The word before `word`."""
        return last_word(self.text, self.start, self.begin - len(self.word))

    def _starts(self) -> bool:
        """Whether what follows looks like the first words of a sentence."""
        return begins_a_sentence(self.text, self.position)

    def only_shortens(self) -> bool:
        word, lower, first = self.word, self.lower, self.first
        if len(word) <= 3:
            spaced = self._ends_spaced_letters()
            if spaced is not None:
                return spaced
        if lower in OF_DOCTORS and _DOCTOR.search(
            self.text, max(self.start, self.begin - 16), self.begin
        ):
            return True
        if in_date(self.text, self.begin, self.writing):
            return True
        if (lower in OF_OFFICES and word.islower() and first.isupper()) and self._is_office():
            return not self._starts()
        if len(word) == 1 and word.isalpha():
            return self._shortens_letter()
        if (word[0].islower() and (lower in MEASURES or lower in _HOURS)) and (
            first.isupper() or (first.isdecimal() and lower in ORDINARY)  # "80 lat. 15 gości"
        ):
            begin = self.begin - len(word)
            counted = _COUNT.search(self.text[max(self.start, begin - 8) : begin])
            if counted and not _DEGREES.match(self.text, self.position):
                return lower in _HOURS and self._goes_on_behind_hour()
        if lower == "st" and self._starts():  # "Oak St. It is far"
            return not self._before()[:1].isupper()
        # In capitals most short words are other ones: NP, DNA.
        capitals = word.isupper() and word.isalpha() and lower not in IN_CAPITALS
        if lower in NEVER and not capitals:
            return True
        if word.isdecimal():
            return self.number if self.alone else self._is_ordinal()
        if self.alone:  # tokenized text keeps the periods of most abbreviations with their words
            return lower in NUMBERED if self.number else lower in ENDERS and first.islower()
        if lower in NUMBERED and not capitals and self._refers():
            return True
        if lower in AND_SO_ON and first.isupper():
            return self._closed()
        if self._may_end(capitals):
            return self._closed() or not self._starts()
        if _THAI.match(word):
            return True
        return self.number and self._shortens_before_number()

    def _is_office(self) -> bool:
        """Of a small word before a name: an office: "le cap. Petit", "prof. on. Ricci"."""
        if self.alone:
            return False
        before = self._before().lower()
        return before in BEFORE_OFFICES or (before[-1:] == "." and before[:-1] in _TITLES)

    def _ends_spaced_letters(self) -> bool | None:
        """Of "z. B." and "т. е.": what the tables say of the whole; None if it is not one."""
        dot = self.begin - len(self.word) - 2
        if dot < self.start or self.text[dot] != ".":
            return None
        parts = _SPACED_DOTTED.search(self.text[max(self.start, self.begin - 16) : self.begin])
        if parts is None:
            return None
        together = "".join(parts.group().split()).lower()
        if together in NEVER:
            return True
        if together in AND_SO_ON:
            return not self.first.isupper()
        if together in ENDERS:
            return not self._starts()
        if self.word.islower() and (self.number or self.first == "§"):  # "i. S. d. § 5"
            return True
        return None

    def _goes_on_behind_hour(self) -> bool:
        """Whether a day or a zone follows: "8 p.m. Monday", "5 p.m. Toronto time"."""
        text, position = self.text, self.position
        following = WORD.match(text, position)
        return (
            text[position - 1] == "("
            or text.startswith("U.S.", position)
            or (following is not None and following.group().lower() in OF_HOURS)
            or _ZONE.match(text, position) is not None
        )

    def _shortens_letter(self) -> bool:
        """Of a lone letter: an initial, a unit, "s. XXI", "г. Москва"."""
        text, begin, position = self.text, self.begin, self.position
        word, first = self.word, self.first
        if word in "Ii":  # an initial, or the pronoun, or a numeral
            tokenized = self.alone and text.startswith("e .", position)
            return text[begin - 3 : begin - 1] == ". " or tokenized
        if text[begin - 3 : begin - 1] in ("; ", ": "):  # an item
            return True
        before = self._before()
        # The letter of a stair or an annex; degrees.
        if (word.isupper() and first.isupper()) and (
            (len(before) > 2 and before[-1] == "." and before[:-1].lower() in NUMBERED)
            or (word in "CF" and len(before) < 3 and before.isdecimal())
            or (word == "C" and before in ("st.", "гр.", "град."))
        ):
            return _SHORT_CAPITALIZED.match(text, position) is not None
        linking = word == "u" and before[:1].isupper()  # "Hunde u. Katzen"
        if word.isupper() or self.alone or first.islower() or linking:
            return not self._starts()
        behind = _SHORT_CAPITALIZED.match(text, position)
        if behind is not None and first.isupper():
            short_word = behind.group(1).lower()
            if short_word in CAPITALIZED or short_word in ENDERS or len(short_word) == 1:
                return True
        if word in "cpstv" and _ROMAN.match(text, position) is not None:  # "s. XXI"
            return True
        if (first.isdecimal() and not _FOOTNOTE.match(text, position)) or (
            word in _SINGLE_LETTERS or word in NEVER
        ):
            return True
        before_letter = text[max(0, begin - 4) : begin - 1].rstrip()[-1:]
        if before_letter.isdecimal() or before_letter in ("X", "V", "I"):
            # "He came in 1990 г.", but "In 1990 г. Moscow grew", "1990 г. № 5"
            short = begin - self.start < 20 and len(text[self.start : begin].split()) <= 3
            short = short and word in "гr" and not self._starts()
            in_bracket = text[position - 1] == "(" or self._closed()
            return short or in_bracket or _NUMBER_WORD.match(text, position) is not None
        # "г. Москва"
        return ("а" <= word <= "ї" and word != "я") or CASELESS.match(word) is not None

    def _is_ordinal(self) -> bool:
        """Of a number: whether the period makes it an ordinal, or the number of an item."""
        word, before = self.word, self._before()
        dot = self.begin - len(word)
        if len(word) <= 3 and self.text[dot - 2 : dot - 1] in (":", ";"):
            return True
        if len(word) > 2:
            return False
        if _MONTH_NAME.match(self.text, self.position) is not None:
            return True
        if not self.first.isupper() or before.endswith("."):  # "p. 15. The"
            return False
        # Behind a name stands the number of a house: "przy pl. Wolności 1. Warszawa jest".
        ordinal = (
            not before or before[0].islower() or before[-1] in ",:;" or before[:-1].isdecimal()
        )
        ordinal = ordinal and not self._starts()
        return (before.lower() in BEFORE_ORDINALS or ordinal) and self.writing.ordinals

    def _refers(self) -> bool:
        """Of a word that is no end before a number: whether that, or its like, follows."""
        word, first = self.word, self.first
        if self.number or first in "§#" or (first.islower() and not self.writing.lower_cased):
            return True
        if self.lower in OF_COURTS and _COURT.match(self.text, self.position):
            return True
        if self._closed() or (
            self.lower != "no" and _NUMERAL.match(self.text, self.position) is not None
        ):
            return True
        reference = _REFERENCE.match(self.text, self.position)
        behind = _SHORT_CAPITALIZED.match(self.text, self.position)
        if (reference is not None and reference.group(1).lower() in NUMBERED) or (
            behind is not None and behind.group(1).lower() in CAPITALIZED  # "rel. Min. Barroso"
        ):
            return word not in _ORDINARY_BEFORE_REFERENCES
        return False

    def _may_end(self, capitals: bool) -> bool:
        """Whether the word may end a sentence, if what follows looks like the start of one."""
        word, lower = self.word, self.lower
        if _STATE.fullmatch(word) and _PLURAL_SUBJECT.match(self.text, self.position):
            before = self._before()
            return before not in _BEFORE_STATES and before[-1:] != ","
        if lower in MONTHS:  # in Jan. "No."
            return not (self.first.isupper() and self.text[self.position - 1] in '"“„«')
        if lower in ENDERS and not capitals:
            return not self._ends_name()
        if lower in CAPITALIZED and word[0].isupper() and not capitals:
            return not self._ends_name()
        if word.islower() and self.first.isupper() and self._before().isdecimal():
            return False  # "art. 5 k.p.c. Sąd"
        return (
            _DOTTED.fullmatch(word) is not None
            or _CONSONANTS.fullmatch(word) is not None
            or (len(word) == 2 and word[0] == word[1] and self._is_plural())
        )

    def _ends_name(self) -> bool:
        """Of a word behind its name: "the Balancing Cap. Cisco pays", "Тульской губ. Отец"."""
        before = self._before() if self.lower in LASTS_OF_NAMES else ""
        if len(before) < 4 or not before[0].isupper() or before[-1] == ".":
            return False
        return _OF_A_REGION.match(self.text, self.position) is None

    def _is_plural(self) -> bool:
        """Of two equal capitals: a plural: "EE. UU.", "MM. Durand"."""
        text, begin = self.text, self.begin
        around = _PLURAL.search(text, max(0, begin - 6), begin + 6)
        return around is not None or (
            self.word in ("MM", "SS") and text[begin + 2 : begin + 3].isupper()
        )

    def _shortens_before_number(self) -> bool:
        """Of a word that is in no table: "Stat. 119", "str. 5", "kaps. 2"."""
        text, position = self.text, self.position
        word, lower, first = self.word, self.lower, self.first
        if len(word) > 5:
            return _TRUNCATED.search(word) is not None
        if len(word) <= 4 and word.islower() and _DAY_AND_MONTH.match(text, position):
            return _CONSONANT_END.search(word) is not None  # "sent. 12 maggio 2010"
        if not (word[1:].islower() or CASELESS.match(word)):
            return False
        if word.islower() and _TRUNCATED.search(word):
            return True
        inside = self.begin - len(word) > self.start
        if not first.isdecimal():
            return not word.islower() and len(word) <= 4 and inside
        if word[0].isupper() and inside and _TWO_REFERENCES.match(text, position):
            return True
        if lower in ORDINARY or lower in AND_SO_ON:
            return False
        if word.islower():
            if text[position - 1] == "(":
                return False
            if _SMALL_CONSONANTS.fullmatch(word) and lower not in MEASURES:  # "2 dd. 1 tabl."
                return True
            if self._before().isdecimal():  # "80 años. 15 invitados"
                return False
        elif inside and len(word) <= 4 and _BARE_NUMBER.match(text, position):
            return True
        return (
            (word.islower() or not word.isascii())
            and _CONSONANT_END.search(lower) is not None
            and (self.writing.ordinals or _HEADING_NUMBER.match(text, position) is None)
            and word not in self.writing.plain_words
        )
