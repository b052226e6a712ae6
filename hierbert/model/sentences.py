"""Splits a text into sentences, as character spans: lossless, offline, for many scripts.

Rules only: a few regular expressions find the places where a sentence could end (runs of
terminators, line breaks), and each place is judged by what stands before and after it. Nothing is
learnt, downloaded, changed or dropped, and the time is linear in the length of the text.

It does not cut long sentences (the segmenter does, by tokens), does not break at colons,
semicolons or the ASCII semicolon of Greek questions, and knows abbreviations of English well, of
a few other European languages a little.

Invariant: the spans are sorted, disjoint, not empty and inside the text; what lies between them
is white space, and no span starts or ends with white space. White space is what `str.isspace`
says, which includes the separators U+001C to U+001F and the no-break space. Everything else is
text and lies in a span: zero-width characters, byte order marks, NUL, other control characters
and lone surrogates too.
"""

import re
from itertools import pairwise
from typing import NamedTuple

Span = tuple[int, int]
"""Start and end of a sentence: offsets in characters, the end exclusive."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# --- Data: characters and words.

# Terminators that need white space behind them, for they also stand inside words and numbers.
_WEAK = ".!?…‼‽⁇⁈⁉⸮\u037e"
# Terminators of scripts that may leave no space behind them: CJK, Arabic, Syriac, Armenian,
# Devanagari and its neighbours, Sinhala, Burmese, Khmer, Ethiopic, Mongolian, Tibetan and others.
_STRONG = (
    "。！？．｡︒﹒﹖﹗؟۔܀܁܂։।॥෴။។៕።፧፨᙮᠃᠉༎᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿"
    "꓿꘎꘏꛳꛷꡶꡷꣎꣏꧈꧉꩝꩞꩟꫰꫱꯫\U00011047\U00011048\U000110c0\U000110c1\U000111c5\U000111c6"
)
_BULLETS = "•▪◦●■‣∙⁃"
# Line breaks as `str.splitlines` knows them.
_BREAKS = r"\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029"
# Joiners and marks that take no room, and so hide between a terminator and the space behind it.
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\ufe0f"
_CLOSERS = r"\"'”’»›)\]}」』】〉》）］｝〕〗〞*_" + _INVISIBLE
_OPENERS = "\"'“‘«‹„‚([{「『【〈《（［｛〔〖〝`*_¿¡" + _INVISIBLE
_OPENERS_AND_CURRENCIES = _OPENERS + "$£€¥"
# A sentence does not start with one of these; the comma may come from tokenized text.
_NO_START = frozenset(",;:)]}%&=/、，；：）］｝」』】؛،")

# Never the end of a sentence.
_TITLES = _words(
    "mr mrs ms dr prof messrs mme mlle st rev hon gen col capt lt sgt cpl maj cmdr adm gov sen rep "
    "pres supt fr e.g i.e eg ie cf viz vs v c.f resp incl esp i.c q.v vgl bzw z.b d.h sog inkl "
    "sra srta dott sig mgr p.ex p.ej т.е डॉ"
)
# Not the end before a number, a numeral or a lone letter.
_NUMBERED = _words(
    "fig figs eq eqs eqn eqns no nos sec secs sect art arts p pp vol vols ch chap tab tbl para "
    "paras cl app appx ex exh ref refs def defn prop thm lem cor alg obs approx ca c est ver op "
    "tel ext nr nn núm n.º § ed eds rule reg subsec subd amend lib bd"
)
# Page, circa, versus, clause: a capital or a number may follow them.
_SINGLE_LETTERS = frozenset("pcvl")
_MONTHS = _words("jan feb mar apr jun jul aug sep sept oct nov dec")
# May end a sentence, if the next word looks like the first of one.
_ENDERS = _words(
    "inc corp ltd co cos llc plc bros jr sr esq al ph.d m.sc b.sc ll.m ll.b dept univ assn assoc "
    "ave blvd rd mt ft hwy intl natl mfg dist ste proc conf trans int symp acad inst sci supp "
    "gmbh s.a ud uds av usw etc"
)

# --- Sizes.

_MAX_WORD_CHARACTERS = 30  # no abbreviation is longer
_MAX_ENUMERATOR_CHARACTERS = 24
_SAMPLE_CHARACTERS = 1_000_000  # of the text, for the cues of its layout
_MAX_WRAP_WIDTH = 160  # characters; longer lines are paragraphs, not wrapped text
_MIN_WRAP_WIDTH = 20

# --- Patterns.

_T = f"[{re.escape(_WEAK + _STRONG)}]"

# One candidate: terminators, also spaced ones (". . ."), and the closing quotes, brackets and
# reference marks behind them, up to group 1; a lone quote in tokenized text (group 2); the white
# space. Or a line break and the white space behind it, or a bullet. All is possessive, nothing can
# fail after the first character, which keeps the scan linear on any input.
_CANDIDATE_SOURCE = (
    rf"[{re.escape(_WEAK + _STRONG)}{_BREAKS}{_BULLETS}]"
    # Between two initials no sentence ends: a run of them is passed over at once.
    r"(?:(?<=[\s(][A-Za-z]\.)(?=[ ][A-Za-z]\.)(?:[ ][A-Za-z]\.(?=[ ][A-Za-z]\.))*+|"
    rf"(?:(?<={_T})(?:{_T}|[ ]{_T}(?=\s|{_T}|\Z))*+"
    rf"(?:[{_CLOSERS}]|[“‘«](?=\s|\Z)|\[\d{{1,3}}\]|[ ](?:''?|[)\]}}”])(?=\s|\Z))*+"
    r"()(?:([ ]\")(?=\s|\Z))?+)?+\s*+)"
)
_CANDIDATE = re.compile(_CANDIDATE_SOURCE)
# Thai and Lao write no terminators: a wide space may end a sentence there.
_WIDE_SPACE_SCRIPT = re.compile("[\u0e01-\u0edf]")
_CANDIDATE_OR_WIDE_SPACE = re.compile(
    _CANDIDATE_SOURCE + "|(?<=[\u0e01-\u0edf])[ \u00a0\u3000]{2,}+(?=[\u0e01-\u0edf])"
)
_WHITE_SPACE = re.compile(r"\s*+")
_FIRST_WORD = re.compile(r"\S{0,40}")
_OPENER_RUN = re.compile(f"[{re.escape(_OPENERS)}]*+")
_STRONG_ANY = re.compile(f"[{_STRONG}]")
_UPPER_ASCII = re.compile("[A-Z]")
_LINE_END = re.compile(rf"{_T}[{_CLOSERS}“‘«]{{0,4}}\Z")
_IDEOGRAPH = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")

# What may open a list item; the strict form is for lines of wrapped prose, which may well start
# with an initial or a dash.
_ITEM_MARK = (
    r"\(?\d{1,3}(?:\.\d{1,3})*[.)]\s|\([A-Za-z]{1,4}\)\s|[A-Za-z]\)\s|[-*+]\s|[" + _BULLETS + "]"
    # A field of a mail's head, a speaker of a transcript.
    r"|[A-Z][\w.-]{0,30}(?: [A-Z][\w.-]{0,30}){0,2}:\s"
)
_ITEM_STRICT = re.compile(_ITEM_MARK)
_ITEM = re.compile(_ITEM_MARK + r"|(?:[A-Za-z]|[ivx]{1,5}|[IVX]{1,5})\.\s|[-–—·]\s|#{1,6}\s")
_LETTERED_ITEM = re.compile(r"(?:\((?:[a-z]|[ivx]{1,5})|[a-z])\)[\s.]")
_ENUMERATOR = re.compile(
    r"(?:(?:section|article|chapter|part|clause|sec\.|art\.|§{1,2})\s{0,3})?"
    r"[(\[]?(?:\d{1,3}(?:\.\d{1,3}){0,5}|[A-Za-z]|[ivx]{1,5}|[IVX]{1,5})",
    re.IGNORECASE,
)
_DOTTED = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")
# Capitalized and without a vowel: Pvt, Blvd, Sgt; h and m would take in "Shh" and "Hmm".
_CONSONANTS = re.compile("[B-DF-HJ-NP-TV-Z][bcdfgjklnpqrstvwxz]{1,3}")
_NUMERAL = re.compile(r"(?:[IVXLC]{1,6}|[A-Z])(?=[\d.,;:)\]])|[IVXLC]{2,6}\b|[B-HJ-Z]\b")
_MONTH_NAME = re.compile(
    "(?:Jan|Feb|M[äa]r|Apr|Ma[iy]|Jun|Jul|Aug|Sep|O[kc]t|Nov|De[zc])[a-zé]{0,7}(?![a-zé])"
)
# Words that open sentences and hardly ever a name; the second group are also surnames or parts
# of titles, so that a lower-case word must follow.
_STARTER = re.compile(
    r"(?:The|This|That|These|Those|There|It|They|However|Moreover|Furthermore|Therefore|Although|"
    r"Additionally|Because|Since|While|When|Where|Which|Our|Their|Thus|Hence|Finally|Similarly|"
    r"Then|Here|If|But|And|What|Why|How|Its)(?![\w.’'-])"
    r"|(?:We|He|She|You|I|In|On|At|As|An|A|For|From|To|By|With|So|Not|After|Before|During|His|"
    r"Her|My|Your|Also|Each|Both|Some|Most|Many|Such|Under|Given|Let|Who|Following|Using|Shares)"
    r"(?:['’]\w{1,2})?,?\s[a-z]"
)


# --- Rules.


class _Layout(NamedTuple):
    """What the whole text tells about its line breaks and its letters."""

    lines_are_units: bool  # most lines end with a terminator: a line is a sentence or a turn
    wrap_width: int  # characters a line at which the text was wrapped; 0 if it was not
    lower_cased: bool  # (nearly) no capitals: a small letter may start a sentence


def split_sentences(text: str) -> list[Span]:
    """Returns the sentences of a text as character spans.

    A blank line, and U+2029, always end a sentence. A single line break is judged by the layout of
    the whole text (one sentence a line, wrapped, one paragraph a line) and by its two lines. The
    layout is read from the first million characters.

    Args:
        text: Any string: any script, also empty, blank or with lone surrogates.

    Returns:
        Sorted, disjoint, non-empty `(start, end)` offsets in characters, the end exclusive. The
        gaps before, between and after them hold white space (`str.isspace`) only, and may be
        empty where a script writes no spaces. A text without any other character gives `[]`.
    """
    spans: list[Span] = []
    length = len(text)
    start = _match_end(_WHITE_SPACE, text, 0)
    if start == length:
        return spans
    layout = _read_layout(text)
    candidate = _CANDIDATE
    if not text.isascii() and _WIDE_SPACE_SCRIPT.search(text):
        candidate = _CANDIDATE_OR_WIDE_SPACE
    line_start = counted = start
    quotes = 0  # straight double quotes of the line before `counted`
    for match in candidate.finditer(text, start):
        begin, resume = match.span()
        if resume == length:
            break
        stop = match.end(1)
        if resume == stop + 1 and text[stop] == " ":  # by far the commonest
            ends = _terminator_ends(text, start, begin, stop, resume, layout.lower_cased)
        elif stop < 0 and text[begin] == ".":  # initials
            continue
        elif stop < 0:  # white space or a bullet without a terminator before it
            stop = begin
            while stop > start and text[stop - 1].isspace():
                stop -= 1
            if text[begin] in _BULLETS:  # "as follows: • one; • two"
                ends = start < stop < begin and text[stop - 1] in ":;" and resume > begin + 1
                resume = begin
            elif text[begin] in " \u00a0\u3000":
                ends = True
            else:
                ends = _break_ends(text, start, line_start, stop, stop, resume, layout)
                line_start, counted, quotes = resume, resume, 0
        else:
            lone_quote = match.end(2) >= 0
            if lone_quote or text[stop - 1] == '"':
                quotes += text.count('"', counted, begin)
                counted = begin
            if lone_quote:  # it closes a quotation, or else opens one with the next sentence
                behind = match.end(2)
                if quotes % 2 == 1 or _has_break(text[behind:resume]):
                    stop = behind
                else:
                    resume = stop + 1
            if resume == stop:
                if text[stop - 1] == '"' and quotes % 2 == 0:
                    stop = resume = stop - 1
                ends = _ends_without_space(text, start, begin, stop)
            elif not _has_break(text[stop:resume]):
                ends = _terminator_ends(text, start, begin, stop, resume, layout.lower_cased)
            else:
                ends = _break_ends(text, start, line_start, begin, stop, resume, layout)
                line_start, counted, quotes = resume, resume, 0
        if ends:
            spans.append((start, stop))
            start = resume
    spans.append((start, len(text.rstrip())))
    return spans


def _match_end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _has_break(white_space: str) -> bool:
    return len((white_space + "x").splitlines()) > 1


def _read_layout(text: str) -> _Layout:
    sample = text[:_SAMPLE_CHARACTERS]
    capitals = sum(1 for _ in _UPPER_ASCII.finditer(sample[:20_000]))
    lower_cased = capitals * 500 < min(len(sample), 20_000) and sample[:20_000].islower()
    lines = [line.strip() for line in sample.splitlines()]
    pairs = [(line, after) for line, after in pairwise(lines) if line and after]
    if len(pairs) < 3:
        return _Layout(False, 0, lower_cased)
    ended = sum(1 for line, _ in pairs if _LINE_END.search(line[-5:]))
    if 2 * ended >= len(pairs):
        return _Layout(True, 0, lower_cased)
    width = sorted(len(line) for line, _ in pairs)[len(pairs) * 9 // 10]
    if not _MIN_WRAP_WIDTH <= width <= _MAX_WRAP_WIDTH:
        return _Layout(False, 0, lower_cased)
    full = [after for line, after in pairs if _is_full(len(line), after, 0, width)]
    capital = sum(1 for after in full if after[0].isupper())
    # Titles one a line are about equally long too, but each starts with a capital.
    wrapped = 2 * len(full) >= len(pairs) and 10 * capital <= 6 * len(full)
    return _Layout(False, width if wrapped else 0, lower_cased)


def _is_full(line_length: int, text: str, next_line: int, width: int) -> bool:
    """Whether the next line's first word had no room left on a line: the mark of wrapping."""
    if _IDEOGRAPH.match(text, next_line):
        word_length = 1
    else:
        word_length = _match_end(_FIRST_WORD, text, next_line) - next_line
    return line_length + 1 + word_length > width * 0.88


def _break_ends(
    text: str, start: int, line_start: int, begin: int, stop: int, resume: int, layout: _Layout
) -> bool:
    """Whether the line break between `stop` and `resume` ends the sentence begun at `start`.

    `begin == stop` says that no terminator stands before the break.
    """
    gap = text[stop:resume]
    if layout.lines_are_units or "\u2029" in gap or len((gap + "x").splitlines()) > 2:
        return True
    line_length = stop - line_start
    full = layout.wrap_width > 0 and _is_full(line_length, text, resume, layout.wrap_width)
    if (_ITEM_STRICT if full else _ITEM).match(text, resume):
        return True
    if begin < stop:
        small_starts = layout.lower_cased or layout.wrap_width == 0
        return _terminator_ends(text, start, begin, stop, resume, small_starts)
    if full:
        return False
    last = text[stop - 1]
    # A ragged line: the text goes on with a small letter where nothing asked for a new line.
    continues = text[resume].islower() and (last.islower() or last in ",-–")
    if layout.wrap_width > 0:
        return not continues
    return not continues or layout.lower_cased or line_length < 30


def _ends_without_space(text: str, start: int, begin: int, stop: int) -> bool:
    """Whether a run of terminators with no white space behind it ends the sentence."""
    strong = text[begin] in _STRONG
    if not strong and (stop == begin + 1 or not _STRONG_ANY.search(text, begin, stop)):
        return False
    after = text[stop]
    if after in _NO_START or (after in "とて" and text[stop - 1] in "」』”）"):
        return False
    if text[begin] in "．﹒" and begin > start and text[begin - 1].isalnum():
        # A decimal, a version or a domain in full-width letters.
        return not (after.isascii() or "０" <= after <= "ｚ")
    return True


def _terminator_ends(
    text: str, start: int, begin: int, stop: int, resume: int, small_starts: bool
) -> bool:
    """Whether the terminators at `begin`, with white space behind `stop`, end the sentence.

    `small_starts` says that a small letter may start a sentence here.
    """
    position = resume
    first = text[position]
    if first in _OPENERS:
        position = _match_end(_OPENER_RUN, text, resume)
        first = text[position] if position < len(text) else ""
    if first in _NO_START and position == resume:
        return False
    if text[begin] in _STRONG:
        return True
    if first in _WEAK and text[position + 1 : position + 2].isspace():  # a closing bracket's "."
        return False
    following = text[begin + 1] if stop > begin + 1 else ""
    ellipsis = text[begin] == "…" or (
        text[begin] == "." and (following == "." or text[begin + 1 : begin + 3] == " .")
    )
    alone = begin > start and text[begin - 1].isspace()
    if first.islower():
        bracket = alone and ")" in text[begin + 1 : min(stop, begin + 4)]
        may_start = (
            small_starts
            or alone
            or text[position + 1 : position + 2].isupper()  # iPhone
            or _LETTERED_ITEM.match(text, resume)
        )
        if ellipsis or bracket or not may_start:
            return False
    if text[begin] != "." or ellipsis or following in ("?", "!"):
        return True
    return not _is_abbreviation(text, start, begin, stop, position, first, alone)


def _is_abbreviation(
    text: str, start: int, begin: int, stop: int, position: int, first: str, alone: bool
) -> bool:
    """Whether the period at `begin` only shortens the word before it, or numbers an item."""
    if begin - start <= _MAX_ENUMERATOR_CHARACTERS and _ENUMERATOR.fullmatch(text, start, begin):
        return True
    if begin - start > 1 and text[begin - 2] == " " and text[begin - 1].isalpha():
        word = text[begin - 1]
    else:
        words = text[max(start, begin - _MAX_WORD_CHARACTERS) : begin].rsplit(None, 1)
        if not words:
            return False
        word = words[-1].lstrip(_OPENERS_AND_CURRENCIES)
    if len(word) == 1 and word.isalpha():
        if word in "Ii":  # an initial, or the pronoun, or a numeral
            return text[begin - 3 : begin - 1] == ". " or (
                alone and text.startswith("e .", position)
            )
        if not (word.isupper() or alone or first.islower()):
            return word in _SINGLE_LETTERS
        return _STARTER.match(text, position) is None
    lower = word.lower()
    if lower in _TITLES:
        return True
    if word.isdecimal():
        if alone:  # "4 . 0"
            return first.isdecimal()
        listed = len(word) <= 3 and text[begin - len(word) - 2 : begin - len(word) - 1] in (
            ":",
            ";",
        )
        return listed or (len(word) <= 2 and _MONTH_NAME.match(text, position) is not None)
    if alone:  # tokenized text keeps the periods of most abbreviations with their words
        if lower in _NUMBERED:
            return first.isdecimal()
        return lower in _ENDERS and first.islower() and lower != "etc"
    closed = ")" in text[begin + 1 : min(stop, begin + 4)]
    if lower in _NUMBERED:
        if first.isdecimal() or first.islower() or first in ("§", "#"):
            return True
        return closed or (lower != "no" and _NUMERAL.match(text, position) is not None)
    if lower == "etc" and first.isupper():
        return closed
    if (
        lower in _ENDERS
        or lower in _MONTHS
        or _DOTTED.fullmatch(word)
        or _CONSONANTS.fullmatch(word)
    ):
        return closed or _STARTER.match(text, position) is None
    return False
