"""What kind of unit each sentence of a document is: prose, or what no summary should be made of.

Cheap rules on the text alone, in time linear in its length: fences of code, the head of a mail and
its signature, what follows the heading of a list of references, and for each sentence by itself its
first and last characters, its marks and its place on a line. In doubt a sentence is prose.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from .sentences import Span

KINDS = ("prose", "heading", "list", "code", "table", "reference", "boilerplate")

_MAX_HEADING_WORDS = 12
_LEAST_PROSE_WORDS = 8  # of an item that is a sentence of its own
_LEAST_CLAUSE_WORDS = 20  # of one that is a clause, as contracts have them
_LEAST_REPEATED = 3  # a line that stands so often in a document is the head or foot of its pages
_MAX_PAGE_HEAD_CHARACTERS = 80
_MAX_SIGNATURE_CHARACTERS = 1_000

# --- Regions of a document.

_FENCE = re.compile(r"^[ \t>]*(```|~~~)([^\n`]*)", re.MULTILINE)
_MAIL_HEAD = re.compile(
    r"\s*(?:From|Subject|Path|Newsgroups|Received|Return-Path|To|Date|Message-ID|Xref)"
    r":[ \t][^\n]*\n(?:[A-Za-z][\w-]{0,40}:[^\n]*\n|[ \t]+\S[^\n]*\n)+"
)
_SIGNATURE = re.compile(r"^-- ?$", re.MULTILINE)
_REFERENCES = re.compile(
    r"^[ \t]*+#{0,6}+[ \t]*+(?:\d{1,2}\.?[ \t]+)?(?:references|bibliography|works cited|literature"
    r"( cited)?|literatur(verzeichnis)?|bibliographie|bibliografía|bibliografia|références|"
    r"referencias|referências|литература|参考文献)[ \t]*+:?[ \t]*+$",
    re.MULTILINE | re.IGNORECASE,
)
_AFTER_REFERENCES = re.compile(
    r"^[ \t]*+#{0,6}+[ \t]*+(?:[A-Z\d]{1,2}\.?[ \t]+)?(?:append|anhang|annexe|copyright|supplement|"
    r"acknowledg)|^#{1,6}[ \t]",
    re.MULTILINE | re.IGNORECASE,
)

# A line of a table of contents: maybe a number, a title, a page.
_CONTENTS = re.compile(
    r"^[ \t]*+(?P<number>(?:\d{1,2}(?:\.\d{1,2}){0,4}|[IVX]{1,5}|[A-Z])\.?[ \t]+)?"
    r"(?P<title>[^\W\d_][^\n.!?|:;=]{2,80}?)(?<![\d \t])[ \t]+(?P<page>\d{1,4})[ \t]*\r?\n"
    r"(?:[ \t]*\r?\n)?",
    re.MULTILINE,
)
_LEAST_CONTENTS = 3  # lines in a row; of lines without a number twice as many

# Lines at the end of a mail that say who wrote it: addresses, telephones.
_MAX_SIGNATURE_LINES = 7
_WHERE = re.compile(
    r"\S@\S+\.\w|\(?\b\d{3}\)?[-. /]\d{3,4}[-. ]?\d{4}\b|\+\d{1,3}[-. ()\d]{7,}|"
    r"\b(?:tel|phone|fax|mobile|e-?mail|internet|bitnet|voice)\b\.?:",
    re.IGNORECASE,
)
_RULE = re.compile(r"[-=_*~#+| ]{3,}")

# A line that is an entry of such a list, wherever it stands: a key or a name first, a year.
_ENTRY = re.compile(
    r"^[ \t]*(?:\[[\w+-]{1,12}\][ \t]+(?=[^\n]{0,60}\b[A-Z]\.)(?=[A-Z])|"
    r"[A-Z][\w'’-]+, (?:[A-Z]\. ?)+)"
    r"[^\n]{0,200}?\b(?:19|20)\d\d[^\n]*",
    re.MULTILINE,
)

# --- Sentences by themselves.

# Nothing that the rules below look for stands in most sentences.
_PLAIN = re.compile(r"[“\"'‘«„(]?[^\W\d_][^|{}<>=_\\\t©]*[.!?…。！？।][\"”’»)\]]*\Z")
_ENDED = re.compile(r"[.!?…。！？।؟۔:;,][\"'”’»)\]*_`]*\Z")
_SENTENCE_END = re.compile(r"[.!?…。！？।؟۔][\"'”’»)\]*_`]*\Z")
_LEADERS = re.compile(
    r"(?:\.[ \t]?){4,}[ \t]*(?:\d{1,4}|[ivxl]{1,6})?\s*\Z|(?:\. ?){8,}|…{2,}\s*\d+\Z"
)
_ITEM = re.compile(
    r"(?:[-*+•▪◦●■‣∙⁃–—·○]|\(?(?:\d{1,3}|[A-Za-z]|[ivx]{1,5})[.)])[ \t\u2000-\u200a]+\S"
)
_NUMBERED_HEADING = re.compile(
    r"(?:(?:\d{1,2}\.)*\d{1,2}\.?|[IVXLC]{1,6}\.|[A-Z]\.|§ ?\d+|(?:Section|Chapter|Article|Part|"
    r"Appendix|Annex|Exhibit|Schedule|Kapitel|Abschnitt|Chapitre|Capítulo|Глава)\s[\w.]{1,8})"
    r"[ \t:.—–-]+(?=[^\W\d_])"
)
_CODE_START = re.compile(
    r"(?:def|class|function|import|from|return|if|for|while|public|private|const|let|var|#include|"
    r"uint\d*|int|struct|interface|contract|event|require|assert|module|void|static|enum|type)\b"
    r".*[({;:=]|[$>]{1,3} \w+.*(?:-\w|/|\|)|\w+(?:\.\w+)*\(.*\)[;,]?\s*\Z|[\w.\[\]]+ ?[-+*|]?= ?\S"
)
_IMPORT = re.compile(r"import [\w.*{}]+ ?(?:;|\n|\Z|as |from )|from [\w.]+ import |#include\b")
# What programs say in words: a statement of SQL, a line of a shell, marks of a page, an object.
_STATEMENT = re.compile(
    r"(?:SELECT\b[^\n]{1,300}?\s+FROM\s+\S|INSERT\s+INTO\s+[\w.\"`]+\s*[(\w]|"
    r"UPDATE\s+[\w.\"`]+\s+SET\s+[\w.\"`]+\s*=|DELETE\s+FROM\s+[\w.\"`]+\s*(?:WHERE\b|;|\Z)|"
    r"(?:CREATE|DROP|ALTER)\s+(?:TABLE|INDEX|VIEW|DATABASE)\s+(?:IF\s+)?[\w.\"`]+)|"
    r"[$%#] (?:sudo |\./|[a-z][\w.-]*(?:[ \t]+\S|\Z))[^\n]*\Z|"
    r"(?:sudo|(?:pip3?|npm|yarn|brew|cargo|apt|apt-get|conda|gem|go|docker|git) "
    r"(?:install|add|run|build|clone|get|pull|push|commit|checkout|init|update|upgrade)|"
    r"(?:curl|wget|chmod|mkdir|ssh|scp|rsync|python3?|tar|grep|sed|awk) +-{1,2}\w)[ \t][^\n]*\Z|"
    r"(?:curl|wget) +['\"]?https?://\S+['\"]?\s*\Z|"
    r"</?[a-zA-Z][\w:-]*(?:\s+[\w:@.-]+(?:=(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+))?)*\s*/?>"
    # What is said in between is prose, but for a name.
    r"(?:(?:\s*+[^\s<>]++){0,3}+\s*+</[a-zA-Z][\w:-]*+>|\s*+\Z|\s*+<(?=[/a-zA-Z][^<>]*>\s*\Z))|"
    r"\{\s*\"[^\"\n]{1,80}\"\s*:|\[\s*\{\s*\"[^\"\n]{1,80}\"\s*:",
)
_SAID_OF_CODE = re.compile(r"[.!?]\s+[A-Z]|[a-z]{2}[.!?]\s*\Z")
_CODE_MARKS = re.compile(r"[{}=<$&\\;]|\w_\w|\w[\[(]|\(\)|::|->|//|/\*")
# White space before a bar is looked at from its beginning alone, so that the time is linear.
_CELLS = re.compile(r"\t+| {3,}|(?<![ \t])[ \t]++\|[ \t]*+|\|[ \t]*+")
_NUMBER = re.compile(r"[-+±(]?[\d.,]+[%)]?|[-–—]")
_REFERENCE = re.compile(
    r"(?:\[[\w+-]{1,12}\]|\d{1,3}\.|[A-Z][\w'’-]+,? [A-Z]\.(?: ?[A-Z]\.)*(?: |,)).{0,200}?"
    r"(?:\(?(?:19|20)\d\d[a-z]?\)?[.,:]|\bpp?\. ?\d+|\bvol\. ?\d|In Proc|arXiv|doi:|https?://)",
    re.DOTALL,
)
_VENUE = re.compile(
    r"(?:In:? (?:Proc|[A-Z][\w ]+(?:Conference|Workshop|Symposium|ACL|EMNLP))|arXiv|doi:|"
    r"(?:pp|pages) ?\.? ?\d+ ?[-–]|[A-Z][\w ]*,? \d+\(\d+\):\d+)"
)
_BOILERPLATE = re.compile(
    r"(?:©|\(c\) ?(?:19|20)\d\d|copyright (?:©|\(c\)|(?:19|20)\d\d|(?:and|&) related)|"
    r"all rights reserved|terms of (?:use|service) apply|privacy policy|unsubscribe|"
    r"click here to|subscribe to (?:our|the)|sign up for|follow us on|share this|read more:?\Z|"
    r"advertisement\Z|page \d+( of \d+)?\Z|source: .{1,80}\d{4}\Z|"
    r"confidential treatment|permission to (?:make|copy|use).{0,40}(?:copies|granted)|"
    r"sent from my|this e-?mail (?:and|is|may)|printed in|isbn[- :]?[\dx-]{9,})",
    re.IGNORECASE,
)
_ATTRIBUTION = re.compile(
    r"(?:.*[@<].*|On .{4,80}|In article .*|Am .{4,80}|Le .{4,80}|El .{4,80}|[\w. ]{2,40})\b"
    r"(?:writes?|wrote|says|said|schrieb|schreibt|a écrit|escribió|scrisse|schreef)\s*:\Z",
    re.DOTALL,
)
_BETWEEN_ADDRESSES = re.compile(r"[,;<>()|]+")
_WEB_ADDRESS = re.compile(r"[,;:<>()|-]*+(?:https?://|www\.)")
_MAIL_ADDRESS = re.compile(r"[^@]+@[^@]+\.\w+:?\Z")
_SPEAKER = re.compile(r"[A-Z][\w.'’-]*(?: [A-Z][\w.'’-]*){0,3}:\s+\S")
_DIGITS = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d_]+")
_ITEM_OF_LIST = re.compile(r"\(?(?:[a-z]|[ivx]{1,5}|\d{1,3})\)\s")
_TABLE_ROW = re.compile(r"\|(?!>)[^\n]*\|")
_SMALL_WORDS = re.compile(
    r"\b(?:a|an|and|as|at|by|de|der|die|for|from|in|la|le|of|on|or|the|to|und|vs|with|y|et|e)\b"
)


def sentence_kinds(text: str, spans: Sequence[Span], given: bool = False) -> list[str]:
    """The kind of each sentence, one of `KINDS`.

    Args:
        text: A document.
        spans: Its sentences, sorted.
        given: Whether the spans are those of a list of sentences: where lines begin and end
            says nothing then.
    """
    regions = _Regions(text)
    lines = _LineEdges(text)
    kinds = []
    # What stands alone on its lines, but for its numbers: "Page 3" and "Page 4".
    alone: list[tuple[int, str]] = []
    for index, (start, end) in enumerate(spans):
        own = text[start:end].lstrip("> \t")
        kind = regions.kind(start)
        if kind is None:
            begins = not given and lines.begins(start)
            ends = begins and lines.ends(end)
            kind = _kind(own, begins, ends, ends and lines.is_last(end))
            if ends and len(own) <= _MAX_PAGE_HEAD_CHARACTERS and "\n" not in own:
                alone.append((index, _DIGITS.sub("0", own.lower())))
        kinds.append(kind)
    counts = Counter(said for _, said in alone)
    for index, said in alone:
        if counts[said] >= _LEAST_REPEATED and not _SPEAKER.match(text, spans[index][0]):
            kinds[index] = "boilerplate" if kinds[index] in ("prose", "heading") else kinds[index]
    return kinds


class _Regions:
    """Parts of a document whose sentences are all of one kind."""

    def __init__(self, text: str) -> None:
        found: list[tuple[int, int, str]] = []
        if "```" in text or "~~~" in text:
            opened = -1
            for fence in _FENCE.finditer(text):
                if opened < 0:
                    opened = fence.start(1)
                elif not fence.group(2):
                    found.append((opened, fence.start(1) + 1, "code"))
                    opened = -1
        if head := _MAIL_HEAD.match(text):
            found.append((0, head.end(), "boilerplate"))
        signature = -1
        for line in _SIGNATURE.finditer(text, max(0, len(text) - _MAX_SIGNATURE_CHARACTERS)):
            signature = line.start()
        if signature >= 0:
            found.append((signature, len(text), "boilerplate"))
        elif (begin := _unmarked_signature(text)) is not None:
            found.append((begin, len(text), "boilerplate"))
        found += [(*span, "boilerplate") for span in _contents(text)]
        for heading in _REFERENCES.finditer(text, len(text) // 3):
            after = _AFTER_REFERENCES.search(text, heading.end())
            found.append((heading.end(), after.start() if after else len(text), "reference"))
            break
        for entry in _ENTRY.finditer(text):
            found.append((*entry.span(), "reference"))
        self._regions = sorted(found)
        self._starts = [start for start, _, _ in self._regions]

    def kind(self, position: int) -> str | None:
        """Of the region that holds a position; None outside of all."""
        index = bisect_right(self._starts, position) - 1
        if index >= 0 and position < self._regions[index][1]:
            return self._regions[index][2]
        return None


def _contents(text: str) -> list[Span]:
    """Tables of contents: lines in a row that end in pages, which only grow."""
    found = []
    run: list[re.Match[str]] = []
    lines = [*_CONTENTS.finditer(text), None]
    for line in lines:
        follows = (
            line is not None
            and run
            and line.start() == run[-1].end()
            and int(line["page"]) >= int(run[-1]["page"])
        )
        if not follows:
            numbered = sum(1 for one in run if one["number"])
            # Of a table the numbers grow by chance alone, and not often in so many lines.
            if numbered >= _LEAST_CONTENTS or len(run) >= 2 * _LEAST_CONTENTS:
                titled = sum(1 for one in run if one["title"][0].isupper())
                if 2 * titled > len(run) and run[0]["page"] != run[-1]["page"]:
                    found.append((run[0].start(), run[-1].end()))
            run = []
        if line is not None:
            run.append(line)
    return found


def _unmarked_signature(text: str) -> int | None:
    """Where the last lines say who wrote a mail and where to reach them; None where they do not.

    They stand behind an empty line or a rule, and none is a sentence or has the words of one.
    """
    start = max(0, len(text) - _MAX_SIGNATURE_CHARACTERS)
    lines = text[start:].splitlines(keepends=True)
    begin = end = len(text)
    kept: list[str] = []
    for line in reversed(lines[1:] if start else lines):
        own = line.strip("> \t\r\n")
        is_rule = not own or _RULE.fullmatch(own) is not None
        if is_rule and kept:
            break
        begin = end - len(line)
        end = begin
        if not is_rule:
            kept.append(own)
    else:
        return None  # all that there is
    words = [word for line in kept for word in line.split()]
    small = sum(1 for word in words if len(word) > 2 and word.isalpha() and word.islower())
    # An address in the last words of a mail is no signature.
    is_signature = (
        2 <= len(kept) <= _MAX_SIGNATURE_LINES
        and any(map(_WHERE.search, kept))
        and 4 * small <= len(words)
        and not any(len(line.split()) > 2 and _SENTENCE_END.search(line) for line in kept)
    )
    return begin if is_signature else None


class _LineEdges:
    """Where a text's lines begin and end; marks of quoted mail and white space do not count."""

    def __init__(self, text: str) -> None:
        self._text = text

    def begins(self, position: int) -> bool:
        """Whether nothing stands before it on its line."""
        before = self._text[max(0, position - 80) : position].rstrip("> \t")
        return not before or before[-1] in "\n\r\u2029\x0c"

    def ends(self, position: int) -> bool:
        """Whether nothing stands behind it on its line."""
        after = self._text[position : position + 80].lstrip(" \t")
        return not after or after[0] in "\n\r\u2029\x0c"

    def is_last(self, position: int) -> bool:
        """Whether an empty line follows, but not the end of the text."""
        after = self._text[position : position + 80]
        gap = after[: len(after) - len(after.lstrip("> \t\r\n"))]
        return gap.count("\n") > 1


def _kind(own: str, begins: bool, ends: bool, blank_follows: bool) -> str:
    """The kind of a sentence outside of all regions.

    Args:
        own: Its text.
        begins: Whether it begins a line.
        ends: Whether it ends one.
        blank_follows: Whether an empty line follows.
    """
    if _PLAIN.match(own) and len(own) >= 40:
        return "boilerplate" if len(own) < 200 and _BOILERPLATE.match(own) else "prose"
    words = _WORD.findall(own[:2_000])
    if not words:
        cells = len(_CELLS.split(own.strip()))
        return "table" if cells > 2 or len(_DIGITS.findall(own)) > 2 else "boilerplate"
    if _LEADERS.search(own) or _has_addresses_alone(own) or ("____" in own and len(words) < 30):
        return "boilerplate"
    if len(own) < 300 and (_ATTRIBUTION.match(own) or _BOILERPLATE.match(own)):
        return "boilerplate"
    ended = _SENTENCE_END.search(own) is not None
    if begins and (_TABLE_ROW.match(own) or (own.count("|") > 2 and not ended) or _is_table(own)):
        return "table"
    if _is_code(own, begins, len(words)):
        return "code"
    if len(own) < 600 and _REFERENCE.match(own) and (_VENUE.search(own) or own[0] == "["):
        return "reference"
    if begins and own[0] == "#" and re.match(r"#{1,6} ", own):
        return "heading"
    if begins and not ended and _is_heading(own, words, ends, blank_follows):
        return "heading"
    if begins and ended and len(words) <= 6 and _NUMBERED_HEADING.match(own) and _is_titled(words):
        return "heading"  # "4. TERMINATION."
    most = _LEAST_PROSE_WORDS if ended else _LEAST_CLAUSE_WORDS
    return "list" if begins and len(words) < most and _ITEM.match(own) else "prose"


def _has_addresses_alone(text: str) -> bool:
    """Whether a text is addresses of mail and of the web, and what stands between them."""
    return all(
        _WEB_ADDRESS.match(piece)
        or all(
            not part.strip(":-") or _MAIL_ADDRESS.match(part)
            for part in _BETWEEN_ADDRESSES.split(piece)
        )
        for piece in text.split()
    )


def _is_table(own: str) -> bool:
    """Whether a line is a row: cells with wide spaces between, or mostly numbers."""
    if "\n" in own.strip():
        rows = own.strip().splitlines()
        return len(rows) > 1 and sum(map(_is_table, rows)) * 2 > len(rows)
    cells = [cell for cell in _CELLS.split(own.strip()) if cell]
    words = len(own.split())
    small = len(_SMALL_WORDS.findall(own))
    if len(cells) > 2 and words <= 4 * len(cells) and 5 * small <= words:
        return True
    pieces = own.split()
    numbers = sum(1 for piece in pieces if _NUMBER.fullmatch(piece))
    return len(pieces) >= 4 and 2 * numbers > len(pieces)


def _is_code(own: str, begins: bool, words: int) -> bool:
    """Whether there are more marks than prose has, for its words."""
    if begins and (_IMPORT.match(own) or _is_statement(own)):
        return True
    marks = len(_CODE_MARKS.findall(own))
    if begins and marks and _CODE_START.match(own) and not _SENTENCE_END.search(own):
        return 4 * marks >= words or own.rstrip()[-1] in "{};:,)"
    return marks >= 4 and 2 * marks > words


def _is_statement(own: str) -> bool:
    """Whether a line is one of SQL, a shell, HTML or JSON, and no sentence that begins like one."""
    if own[0] not in "$%#{[<" and not own[0].isascii():
        return False
    return _STATEMENT.match(own) is not None and (
        own[0] in "{[<" or _SAID_OF_CODE.search(own) is None
    )


def _is_heading(own: str, words: list[str], ends: bool, blank_follows: bool) -> bool:
    """Whether a line without an end of a sentence is the title of what follows."""
    if not ends or len(words) > _MAX_HEADING_WORDS or "\n" in own.strip() or _SPEAKER.match(own):
        return False
    if own[-1] in ",;" or own[0] in "-*•" or _ITEM_OF_LIST.match(own):
        return False
    if own.isupper() and max(map(len, words)) > 2:
        return True
    if not own[0].isupper() and not own[0].isdigit() and own[0] != "§":
        return False
    if _NUMBERED_HEADING.match(own):
        return words[0][0].isupper() or words[-1][0].isupper()
    if own[-1] == ":":
        return len(words) <= 6 and _is_titled(words)
    return _is_titled(words) or (blank_follows and len(words) <= 8)


def _is_titled(words: list[str]) -> bool:
    """Whether all words begin with a capital, but for small ones."""
    return words[0][0].isupper() and all(
        word[0].isupper() for word in words if len(word) > 3 and not _SMALL_WORDS.fullmatch(word)
    )
