"""Splits a text into sentences, as character spans: lossless, offline, for many scripts.

Rules only: a few regular expressions find the places where a sentence could end (runs of
terminators, line breaks), and each place is judged by what stands before and after it. Nothing is
learnt, downloaded, changed or dropped, and the time is linear in the length of the text.

It does not cut long sentences (the segmenter does, by tokens), and does not break at colons,
semicolons or the ASCII semicolon of Greek questions. The abbreviations it knows, of some thirty
languages, are tables of `abbreviations.py`.

Invariant: the spans are sorted, disjoint, not empty and inside the text; what lies between them
is white space, and no span starts or ends with white space. White space is what `str.isspace`
says, which includes the separators U+001C to U+001F and the no-break space. Everything else is
text and lies in a span: zero-width characters, byte order marks, NUL, other control characters
and lone surrogates too, and the marks of quoted mail.
"""

import re
from functools import cached_property
from itertools import pairwise

from .abbreviations import LINKING, NUMBERED, REFERRING, STARTERS_BEFORE_SMALL, SUFFIXES
from .periods import (
    CASELESS,
    INVISIBLE,
    OPENERS,
    Writing,
    begins_a_sentence,
    first_word,
    in_date,
    last_word,
    only_shortens,
)

Span = tuple[int, int]
"""Start and end of a sentence: offsets in characters, the end exclusive."""

# --- Data: characters.

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
_CLOSERS = r"\"'”’»›)\]}」』】〉》）］｝〕〗〞*_" + INVISIBLE
# A sentence does not start with one of these; the comma may come from tokenized text.
_NO_START = frozenset(",;:)]}%&=/、，；：）］｝」』】؛،")
# Spaces before a closing quote, as French and tokenized text have them.
_THIN = " \u00a0\u202f\u2009\u3000"
# Ideographs and kana: between them no white space is needed.
_IDEOGRAPHS = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"
)

# --- Sizes.

_MAX_WRAP_WIDTH = 160  # characters; longer lines are paragraphs, not wrapped text
_MIN_WRAP_WIDTH = 20
_BRACKET_REACH = 200  # characters; a bracket that closes within them holds no end of a sentence
_SHORT_BRACKET_REACH = 60  # the same, where the bracket opens with the sentence

# --- Patterns.

_T = f"[{re.escape(_WEAK + _STRONG)}]"

# One candidate: terminators, also spaced ones (". . ."), and the closing quotes, brackets and
# reference marks behind them, up to group 1; quotes behind a space that may open or close (group
# 2); the white space. Or a line break and the white space behind it, or a bullet. All is
# possessive, nothing can fail after the first character, which keeps the scan linear on any input.
_CANDIDATE_SOURCE = (
    rf"[{re.escape(_WEAK + _STRONG)}{_BREAKS}{_BULLETS}](?:(?<=[{_BULLETS}])|"
    # Between two initials no sentence ends: a run of them is passed over at once.
    r"(?:(?<=[\s(][A-Za-z]\.)(?=[ ][A-Za-z]\.)(?:[ ][A-Za-z]\.(?=[ ][A-Za-z]\.))*+|"
    rf"(?:(?<={_T})(?:{_T}|[ ]{_T}(?=\s|{_T}|\Z))*+"
    rf"(?:[{_CLOSERS}]|[“‘«‹](?=\s|\Z)|\[\d{{1,3}}\]"
    rf"|[{_THIN}](?:(?:''?|[)\]}}])(?=\s|\Z)|[”’](?=[\s,;:.!?)\]]|\Z)|[」』】》〉]))*+"
    rf"()((?:[{_THIN}][\"“«»‹›‘](?=[\s,;:.!?)\]]|\Z))++)?+)?+\s*+))"
)
_CANDIDATE = re.compile(_CANDIDATE_SOURCE)
# Thai and Lao write no terminators: a wide space may end a sentence there.
_WIDE_SPACE_SCRIPT = re.compile("[\u0e01-\u0edf]")
_CANDIDATE_OR_WIDE_SPACE = re.compile(
    _CANDIDATE_SOURCE + "|(?<=[\u0e01-\u0edf])[ \u00a0\u3000]{2,}+(?=[\u0e01-\u0edf])"
)
_WHITE_SPACE = re.compile(r"\s*+")
_FIRST_WORD = re.compile(r"\S{0,40}")
_OPENER_RUN = re.compile(f"[{re.escape(OPENERS)}]*+")
_STRONG_ANY = re.compile(f"[{_STRONG}]")
_LINE_END = re.compile(rf"{_T}[{_CLOSERS}“‘«]{{0,4}}\Z")
_IDEOGRAPH = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_UNSPACED = re.compile(f"[{_IDEOGRAPHS}]")
# Before and after a weak terminator without white space, in scripts that need none.
_UNSPACED_BEFORE = re.compile(rf"[{_IDEOGRAPHS}”’」』】》〉）)\"]")
_UNSPACED_END = re.compile(rf"(?![图圖表第章节節式例])[{_IDEOGRAPHS}][.!?]+\d")
_UNSPACED_AFTER = re.compile(rf"[“‘「『【《〈（(\"]*+[{_IDEOGRAPHS}]")
_CLAUSE_AND_ELLIPSIS = re.compile(
    rf"[{_IDEOGRAPHS}]{{2}}[了吧呢啊呀嘛啦吗]…{{2,6}}[”’」』]?[{_IDEOGRAPHS}]"
)
# Who asked, behind a question, in scripts without small letters: “真的吗?”他问.
_SAID = re.compile(
    r"[^\W\d_]{1,3}(?:问|問|说|說|道|喊|叫|答)[。.，,：:]"
    r"|(?:سأل|قال|صاح|صرخ|هتف|همس|أجاب|رد)(?:ت|وا)?(?:ه|ها|هم|ني|نا)?\b"
    r"|(?:[^\s।]{1,20} ){1,4}ने (?:[^\s।]{1,20} )?(?:पूछा|कहा|बताया|उत्तर|जवाब|पुकारा)"
    r"|[^\s।]{1,20} (?:बोला|बोली|बोले)[\s।]"
)
# A name that ends in a mark: "Yahoo! Inc. fell".
_COMPANY = re.compile(r"(?:Inc|Corp|Co|Ltd|LLC|PLC|plc|GmbH|AG|SA|NV)(?![-\w])")
_HANGUL_PAIR = re.compile("[\uac00-\ud7af]{2}")
_CHINESE_NUMERALS = re.compile("[（(]?[一二三四五六七八九十百甲乙丙丁]{1,3}[)）]?|[A-Za-z0-9]")
# A word of a fused sentence ("late.The end"), and what stands before it.
_FUSED_AFTER = re.compile(
    r"(?:[CDJLMNST]|Qu)(?=['’][^\W\d_A-Z]{2})|"  # "partit.C'est"
    r"([^\W\d_]+)(?:['’]\w{1,2})?(?=[\s,;!?'’”\"»)–—]|-[^\W\d_]|\.(?:\s|\Z)|\Z)"
)
_FUSED_BEFORE = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")
# The same before what starts a sentence for sure: "$7.5", "12,000", "5km", "COVID-19", "U.S".
_FUSED_BEFORE_STARTER = re.compile(r"[^\W_]+(?:[-'’.,][^\W_]+)*")
_ITEM_BEFORE = re.compile(r"[:;]\s{1,4}(?:(?:and|or)\s{1,4})?\d+\Z")  # "do so; and 3.The next"
_CODE = re.compile(r"[{}=_;|<\\]|[^\W\d]\(\w*\)|\w[\w\])]\.[a-z]{2}|\w\[[\w:]|::|->")
_BRACKET = re.compile(r"(?<![:;=])(?<![:;=]-)[(\[（［【]|[)\]）］】]|[\n\r]\s*[\n\r]")
_SMALL_ASCII = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_OPEN_BRACKETS = "([（［【"
_BRACKETS = list(zip(_OPEN_BRACKETS, ")]）］】", strict=True))
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
_ASIDE = re.compile(r"(?:[—–-]{1,2}\s|[—–])(?=([^\W\d_]))")
# The marks of quoted mail before a line: "> ", ">> ", "> > ".
QUOTE_MARKS = re.compile(r"(?:>(?!=)[ \t]*+)++")
_QUOTED_LINE = re.compile(r"[\n\r][ \t]*>(?!=)")
_ENDED_LINE = re.compile(rf"[^{_BREAKS}]{{0,200}}?{_T}[{_CLOSERS}]*+(?:[{_BREAKS}]|\Z)")
_ONE_LETTER_WORDS = frozenset("AIOYÀÉÓÈВИКОСУЯ")
_LINE_OF_MARKS = re.compile(rf"{QUOTE_MARKS.pattern}(?=[{_BREAKS}]|\Z)")


# --- Rules.


class _Layout(Writing):
    """What the whole text tells about its line breaks, its letters and its quotes.

    Attributes:
        lines_are_units: Most lines end with a terminator: a line is a sentence or a turn.
        wrap_width: Characters a line at which the text was wrapped; 0 if it was not.
        quoted: Some lines start with the marks of quoted mail, which are no part of their width.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lines_are_units, self.wrap_width = False, 0
        self.quoted = ">" in text and (
            QUOTE_MARKS.match(text) is not None or _QUOTED_LINE.search(text) is not None
        )
        lines = [line.strip() for line in self.sample.splitlines()]
        if self.quoted:
            lines = [line[_after_marks(line, 0) :].strip() for line in lines]
        pairs = [(line, after) for line, after in pairwise(lines) if line and after]
        if len(pairs) < 3:
            return
        ended = sum(1 for line, _ in pairs if _LINE_END.search(line[-5:]))
        if 2 * ended >= len(pairs):
            self.lines_are_units = True
            return
        width = sorted(len(line) for line, _ in pairs)[len(pairs) * 9 // 10]
        if not _MIN_WRAP_WIDTH <= width <= _MAX_WRAP_WIDTH:
            return
        full = [after for line, after in pairs if _is_full(len(line), after, 0, width)]
        capital = sum(1 for after in full if after[0].isupper())
        # Titles one a line are about equally long too, but each starts with a capital.
        if 2 * len(full) >= len(pairs) and 10 * capital <= 6 * len(full):
            self.wrap_width = width

    @cached_property
    def tokenized(self) -> bool:
        """Whether spaces stand before punctuation, as tokenizers of words write it."""
        sample = self.text[:20_000]
        return " ," in sample or " . " in sample

    @cached_property
    def reversed_guillemets(self) -> bool:
        """Whether quotations are »so« and not «so»."""
        return -1 < self.text.find("»") < self.text.find("«")

    def closes(self, mark: str, start: int, begin: int) -> bool:
        """Whether a lone quote behind the terminator at `begin` closes what the text opened."""
        if mark in "“‘":
            low = "„" if mark == "“" else "‚"
            high = "”" if mark == "“" else "’"
            before = self.text[max(0, begin - 2_000) : begin]
            return before.rfind(low) > max(before.rfind(mark), before.rfind(high))
        if ("«" if mark in "»›" else "»") not in self.text and mark in "«»":
            return self.text.count(mark, start, begin) % 2 == 1  # »so» or «so«
        return (mark in "»›") != self.reversed_guillemets


def split_sentences(text: str) -> list[Span]:
    """Returns the sentences of a text as character spans.

    A blank line, and U+2029, always end a sentence. A single line break is judged by the layout of
    the whole text (one sentence a line, wrapped, one paragraph a line) and by its two lines. The
    layout is read from the first million characters. Nothing else ends a sentence inside a bracket
    that closes within `_BRACKET_REACH` characters.

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
    layout = _Layout(text)
    quoted, lower_cased = layout.quoted, layout.lower_cased
    candidate = _CANDIDATE
    if not text.isascii() and _WIDE_SPACE_SCRIPT.search(text):
        candidate = _CANDIDATE_OR_WIDE_SPACE
    brackets = [pair for pair in _BRACKETS if pair[0] in text]
    content = _after_marks(text, start) if quoted else start  # where the sentence's words start
    depth = text.count(">", start, content)  # of the quoted mail that the line belongs to
    line_start = content
    counted = start
    quotes = 0  # straight double quotes of the line before `counted`
    for match in candidate.finditer(text, start):
        begin, resume = match.span()
        if resume == length:
            break
        stop = match.end(1)
        inside = after = resume
        line_break = False
        # A number or a name of code, but for "100元.200元".
        if (stop == resume and text[stop] in _SMALL_ASCII and text[begin] in ".?!") and (
            text[begin - 1] < "\u3000" or not _UNSPACED_END.match(text, begin - 1)
        ):
            continue
        if resume == stop + 1 and text[stop] == " ":  # by far the commonest
            ends = _terminator_ends(text, content, begin, stop, resume, layout, lower_cased)
        elif stop < 0 and text[begin] == ".":  # initials
            continue
        elif stop < 0:  # white space or a bullet without a terminator before it
            stop = begin
            while stop > start and text[stop - 1].isspace():
                stop -= 1
            if text[begin] in _BULLETS:  # "as follows: • one; • two"
                ends = start < stop < begin and text[stop - 1] in ":;" and text[resume].isspace()
                resume = begin
            elif text[begin] in " \u00a0\u3000":
                ends = True
            else:
                ends, line_break, begin = False, True, stop
        else:
            if match.end(2) >= 0:
                quotes += text.count('"', counted, begin)
                counted = begin
                stop, resume = _close_quotes(match, layout, content, quotes)
                after = resume
            elif text[stop - 1] == '"':
                quotes += text.count('"', counted, begin)
                counted = begin
            if resume == stop:
                if text[stop - 1] == '"' and quotes % 2 == 0:
                    stop = resume = stop - 1
                ends = _ends_without_space(text, content, begin, stop, layout)
            elif not _has_break(text[stop:resume]):
                ends = _terminator_ends(text, content, begin, stop, resume, layout, lower_cased)
            else:
                ends, line_break = False, True
        if line_break:
            after = _after_marks(text, resume) if quoted else resume
            gap = text[stop:resume]
            blank = gap != "\n" and _is_blank(gap)
            if blank:
                ends = True
            elif quoted and content >= stop:  # marks alone, of an empty line
                ends = False
                content = after
            elif quoted and (
                text.count(">", resume, after) != depth or _LINE_OF_MARKS.match(text, resume)
            ):
                ends = True
            else:
                ends = _break_ends(text, content, line_start, begin, stop, after, layout)
            inside = -1 if blank or layout.lines_are_units else after
            if quoted:
                depth = text.count(">", resume, after)
            line_start, counted, quotes = after, resume, 0
        if ends:
            if inside >= 0:
                low = stop - _BRACKET_REACH if stop - content > _BRACKET_REACH else content
                for mark, other in brackets:
                    last = text.rfind(mark, low, stop)
                    if last >= 0 and (
                        text.find(other, last, stop) < 0
                        or text.count(mark, low, stop) > text.count(other, low, stop)
                    ):
                        part = line_break and begin == stop
                        code = part and _is_code(text, content, after)
                        ends = code or not _in_bracket(text, content, low, stop, inside, part)
                        break
                if not ends:
                    continue
            spans.append((start, stop))
            start, content = resume, after
    spans.append((start, len(text.rstrip())))
    return spans


def _match_end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _after_marks(text: str, position: int) -> int:
    """Where a line's own text starts behind the marks of quoted mail."""
    return _match_end(QUOTE_MARKS, text, position)


def _has_break(white_space: str) -> bool:
    return len((white_space + "x").splitlines()) > 1


def _is_blank(white_space: str) -> bool:
    """Whether there is an empty line, or a separator of paragraphs."""
    return len((white_space + "x").splitlines()) > 2 or "\u2029" in white_space


def _is_full(line_length: int, text: str, next_line: int, width: int) -> bool:
    """Whether the next line's first word had no room left on a line: the mark of wrapping."""
    if _IDEOGRAPH.match(text, next_line):
        word_length = 1
    else:
        word_length = _match_end(_FIRST_WORD, text, next_line) - next_line
    return line_length + 1 + word_length > width * 0.88


def _close_quotes(
    match: re.Match[str], layout: _Layout, start: int, quotes: int
) -> tuple[int, int]:
    """Where the sentence stops and the next resumes, of lone quotes behind its terminator.

    `quotes` is how many straight double quotes the line has before.
    """
    text, begin = layout.text, match.start()
    stop, opened = match.span(2)
    last_of_line = _has_break(text[opened : match.end()])
    while stop < opened:
        mark = text[stop + 1]
        if mark == '"':
            closes = quotes % 2 == 1
            quotes += 1
        else:
            closes = layout.closes(mark, start, begin)
        if not (closes or last_of_line):
            return stop, stop + 1  # it opens a quotation with the next sentence
        stop += 2
    return stop, match.end()


def _in_bracket(text: str, start: int, low: int, stop: int, resume: int, line: bool) -> bool:
    """Whether a bracket that was opened between `low` and `stop` closes soon behind `resume`.

    `line` says that only the end of a line stands there: brackets of code hold a part a line.
    """
    opened: list[int] = []
    for bracket in _BRACKET.finditer(text, low, stop):
        if bracket.group() in _OPEN_BRACKETS:
            opened.append(bracket.start())
        elif opened:
            opened.pop()
    if not opened or (line and text[opened[0] + 1].isspace()):
        return False
    # One that holds whole sentences is short, or they end as any others do.
    reach = _BRACKET_REACH if opened[0] > start else _SHORT_BRACKET_REACH
    left = len(opened)
    for bracket in _BRACKET.finditer(text, resume, min(len(text), opened[0] + reach)):
        mark = bracket.group()
        if mark in _OPEN_BRACKETS:
            left += 1
        elif len(mark) > 1:
            return False
        else:
            left -= 1
            if left == 0:
                return True
    return False


def _break_ends(
    text: str, start: int, line_start: int, begin: int, stop: int, resume: int, layout: _Layout
) -> bool:
    """Whether the single line break between `stop` and `resume` ends the sentence.

    `begin == stop` says that no terminator stands before the break.
    """
    first = text[resume]
    small = first.islower()
    if layout.lines_are_units:
        goes_on = begin == stop and small and not layout.lower_cased
        return not goes_on or last_word(text, line_start, begin) not in LINKING
    line_length = stop - line_start
    full = layout.wrap_width > 0 and _is_full(line_length, text, resume, layout.wrap_width)
    if text.startswith("```", resume) or text.startswith("```", line_start):
        return True
    if (_ITEM_STRICT if full else _ITEM).match(text, resume) and not (
        begin < stop and in_date(text, begin, layout)
    ):
        if first not in "(0123456789" or text[start].isdecimal():
            return True
        # "see Table" and "3. The" on the next line.
        before = last_word(text, line_start, begin)
        word = before.lower()
        refers = (word in REFERRING and (full or before[0].isupper())) or (
            first != "("
            and (word in NUMBERED if begin < stop else line_length >= 30 and word in LINKING)
        )
        return not refers
    if begin < stop:
        small_starts = layout.lower_cased or layout.wrap_width == 0
        return _terminator_ends(text, start, begin, stop, resume, layout, small_starts)
    if full:
        return False
    last = text[stop - 1]
    hyphen = last in "-\u2010\u00ad" and stop - 1 > line_start and text[stop - 2].isalnum()
    # A word that goes on: "per-" and "iod", "GOVERN-" and "MENT", "Anglo-" and "American".
    if hyphen and (
        small
        or last == "\u00ad"
        or first.isdecimal()
        or last_word(text, line_start, stop)[:1].isupper()
    ):
        return False
    if not small:
        linked = last.islower() and last_word(text, line_start, stop) in LINKING
        linked = linked and not layout.lower_cased
        return not linked or _is_code(text, line_start, resume)
    # A ragged line: the text goes on with a small letter where nothing asked for a new line.
    if not (last.islower() or last in ",-–"):
        # A number, a name in capitals, a bracket or a quote: but for code, and lists of names.
        if not (last.isalnum() or last in ")]\"'”’»%&") or _is_code(text, line_start, resume):
            return True
        if "@" in text[resume : resume + 40].split(None, 1)[0]:  # a list of addresses
            return True
        short = 2 * line_length < layout.wrap_width
        if short and not _goes_on(text, start, line_start, resume):
            return True
    if layout.wrap_width > 0:
        return False
    if layout.lower_cased:
        return True
    if line_length >= 30:
        return False
    linked = last_word(text, line_start, stop) in LINKING and not _is_code(text, line_start, resume)
    return not (linked or _goes_on(text, start, line_start, resume))


def _goes_on(text: str, start: int, line_start: int, next_line: int) -> bool:
    """Whether the next line ends the sentence of this one, however short the lines are."""
    if _is_code(text, line_start, next_line):
        return False
    if first_word(text, next_line) in LINKING:
        return True
    prose = line_start > start or text[line_start].isupper()
    return prose and _ENDED_LINE.match(text, next_line) is not None


def _is_code(text: str, line_start: int, next_line: int) -> bool:
    """Whether marks of code stand in the last characters of a line, or the first of the next."""
    low = max(line_start, next_line - 120)
    return _CODE.search(text, low, min(len(text), next_line + 60)) is not None


def _ends_without_space(text: str, start: int, begin: int, stop: int, layout: _Layout) -> bool:
    """Whether a run of terminators with no white space behind it ends the sentence."""
    after = text[stop]
    if after in _NO_START or (after in "とて" and text[stop - 1] in "」』”）"):
        return False
    if text[stop - 1] in '」』”"' and _SAID.match(text, stop):
        return False
    if text[begin] in "．﹒" and begin > start and text[begin - 1].isalnum():
        # A decimal, a version or a domain in full-width letters.
        return not (after.isascii() or "０" <= after <= "ｚ")
    if text[begin] in _STRONG or (
        stop > begin + 1 and _STRONG_ANY.search(text, begin, stop) is not None
    ):
        return True
    if begin > start and _UNSPACED_END.match(text, begin - 1):
        return True
    if begin == start or after.islower() or after.isdecimal() or text[begin - 1].isspace():
        return False
    ellipsis = text[begin] == "…" or text[begin : begin + 2] == ".."
    if ellipsis and not ("!" in text[begin:stop] or "?" in text[begin:stop]):
        # A Chinese one also stands for a pause, but hardly behind a word that ends a clause.
        return _CLAUSE_AND_ELLIPSIS.match(text, max(start, begin - 3)) is not None
    before = text[begin - 1]
    period = text[begin] == "."
    if not text.isascii():
        if not period and "\u0900" <= before <= "\u0dff" and CASELESS.match(after):
            return True
        if _UNSPACED_BEFORE.match(before) or (before.isalnum() and not before.isdecimal()):
            if _UNSPACED_AFTER.match(text, stop):
                # Not behind the number of a heading, or "U.S.A".
                numbered = _CHINESE_NUMERALS.fullmatch(text, start, begin)
                return not (period and (numbered or text[max(0, begin - 2)] == "."))
            if not period and _UNSPACED.match(before):
                return True
        # Of more digits than the number of a heading.
        long_number = begin - 3 >= start and text[begin - 3 : begin].isdecimal()
        if long_number and _UNSPACED_AFTER.match(text, stop):
            return True
        if begin - 2 >= start and _HANGUL_PAIR.match(text, begin - 2):
            return "\uac00" <= after <= "\ud7af"
        if "\u0600" <= before <= "\u06ff" and "\u0600" <= after <= "\u06ff":
            return len(last_word(text, start, begin)) > 2 and text[stop + 1 : stop + 2].isalpha()
    return _is_fused(text, start, begin, stop, layout)


def _is_fused(text: str, start: int, begin: int, stop: int, layout: _Layout) -> bool:
    """Whether two sentences meet here whose white space was lost: "It was late.The end came"."""
    position = _match_end(_OPENER_RUN, text, stop)
    behind = _FUSED_AFTER.match(text, position)
    if behind is None:
        return False
    word = behind.group(1) or ""
    if word and (not word[0].isupper() or not (word[1:].islower() or word in _ONE_LETTER_WORDS)):
        return False
    before = last_word(text, start, begin)
    whole = _FUSED_BEFORE.fullmatch(before) is not None
    starts = begins_a_sentence(text, position) or (
        word in STARTERS_BEFORE_SMALL and text[behind.end() : behind.end() + 1] in ("?", "!")
    )
    if starts and before and not whole:
        unit = len(word) > 1 and _FUSED_BEFORE_STARTER.fullmatch(before) is not None
        whole = unit or before[-1] in ')]"”’»%'
    if not whole:
        return False
    if text[begin] != ".":
        return starts or before.islower()
    if before.isdecimal() and _ITEM_BEFORE.search(text, max(start, begin - 16), begin):
        return False
    if not before[-2:].islower() or len(before) < 2:
        if not starts or (len(before) < 2 and before not in "I0123456789"):
            return False
    elif word.lower() in SUFFIXES and not starts:
        return False
    if only_shortens(text, start, begin, stop, position, layout):
        return False
    if starts:
        return True
    # Names of code look alike: "a torch.Tensor".
    if len(word) == 1 or _CODE.search(text, max(start, begin - 60), min(len(text), stop + 60)):
        return False
    article = last_word(text, start, begin - len(before)).lower() in ("a", "an", "the")
    return not article and (before.islower() or not before.isascii() or begin - start > 30)


def _terminator_ends(
    text: str,
    start: int,
    begin: int,
    stop: int,
    resume: int,
    layout: _Layout,
    small_starts: bool,
) -> bool:
    """Whether the terminators at `begin`, with white space behind `stop`, end the sentence.

    `small_starts` says that a small letter may start a sentence here.
    """
    position = resume
    first = text[position]
    if first in OPENERS:
        position = _match_end(_OPENER_RUN, text, resume)
        first = text[position] if position < len(text) else ""
        if first.isspace() and text[position - 1] in '«‹„“‘»›‚"':  # "« Oui"
            position = _match_end(_WHITE_SPACE, text, position)
            first = text[position] if position < len(text) else ""
    if first in _NO_START and position == resume:
        return False
    if text[stop - 1] in '"”»' and text[begin] in "?!؟" and _SAID.match(text, resume):
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
            # "what ? you", but « Quoi ? dit-il ».
            or (alone and (text[begin] == "." or layout.tokenized))
            or text[position + 1 : position + 2].isupper()  # iPhone
            or _LETTERED_ITEM.match(text, resume)
        )
        if ellipsis or bracket or not may_start:
            return False
    elif first in "—–-" and not small_starts:  # «Who?» — she asked.
        aside = _ASIDE.match(text, position)
        if aside is not None and aside.group(1).islower():
            return False
    if ellipsis and first.isdecimal() and text[begin + 3 : begin + 4] in (".", " "):
        return text[begin + 1 : begin + 4] not in ("...", " . ")  # leaders of a table of contents
    if text[begin] != "." or ellipsis or following in ("?", "!"):
        return text[begin] != "!" or _COMPANY.match(text, position) is None
    return not only_shortens(text, start, begin, stop, position, layout)
