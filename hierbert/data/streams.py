"""Files and standard input as text, one piece of a few thousand characters at a time.

Invariant: at most one piece (or, for lines, one line) is held, and every failure to open, unzip or
decode is a `DataError` that names the file. Bytes that are no text are marked in the text, so that
the text around them can be read: `bad_bytes` finds the marks.
"""

import codecs
import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from hierbert.data.document import Source
from hierbert.data.packing import PACKINGS, is_damage
from hierbert.errors import ConfigError, DataError, error_text, not_allowed, setting_name

MAX_DECOMPRESSED_BYTES = 64 * 2**30
"""A packed file that holds more than this is refused."""
MAX_EXPANSION = 1000
"""A packed file that holds more than this many times its size is refused..."""
EXPANSION_FREE_BYTES = 100 * 10**6
"""...once it has unpacked to more than this."""

MAX_ROW_CHARACTERS = 2**28
"""A line of JSON Lines, a field of a table or a text file that is longer than this is refused."""
MAX_JSON_CHARACTERS = 2**30
"""A JSON file, which is held whole, that is longer than this is refused."""

_PIECE_BYTES = 1 << 16
_MARKING = "hierbert.mark_bad_bytes"
_OF_SOURCE_CODE = {"unicode-escape", "raw-unicode-escape"}
_OTHER_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def check_encoding(encoding: str) -> None:
    """Refuse (ConfigError) a name that is no encoding of text files."""
    codecs.register_error(_MARKING, _mark)
    try:
        # What only turns text into text, or reads whole names alone, fails here.
        "".join(codecs.iterdecode(["a".encode(encoding)], encoding, _MARKING))
        if codecs.lookup(encoding).name in _OF_SOURCE_CODE:
            raise LookupError(f"{encoding} is how characters are written in source code")
    except (LookupError, ValueError) as error:
        raise ConfigError(
            "is no known encoding of text files",
            setting="encoding",
            value=encoding,
            allowed="names that Python knows, such as utf-8, latin-1, cp1252, utf-16 or gb18030",
        ) from error


def plain_delimiter(delimiter: str | None) -> str | None:
    """What stands between the fields of csv, a tab also as shells have it; a ConfigError else."""
    if delimiter == "\\t":
        return "\t"
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise not_allowed("delimiter", delimiter, "one character, such as ; or \\t, a tab")
    return delimiter


def check_expansion(source: Source, unpacked_bytes: int, packed_bytes: int, advice: str) -> None:
    """Refuse (DataError) a packed file that holds too much, in all or for its size.

    Of it `unpacked_bytes` are unpacked, or are about to be, and `packed_bytes` are what these take
    in the file; `advice` says what to do instead.
    """
    dense = unpacked_bytes > max(EXPANSION_FREE_BYTES, MAX_EXPANSION * packed_bytes)
    if dense or unpacked_bytes > MAX_DECOMPRESSED_BYTES:
        raise DataError(
            f"unpacks to more than is allowed ({MAX_DECOMPRESSED_BYTES:,} bytes, or "
            f"{MAX_EXPANSION} times its size past {EXPANSION_FREE_BYTES:,} bytes); {advice} if it "
            "is right",
            place=source.name,
        )


def byte_pieces(source: Source) -> Iterator[bytes]:
    """Read a file or standard input, unzipped, as pieces of at most 64 KiB.

    A DataError where it cannot be opened or read, its packed data is damaged or unpacks to too
    much.
    """
    if source.path is None:
        yield from _pieces(sys.stdin.buffer)
        return
    try:
        with open(source.path, "rb") as raw:
            yield from _unpacked_pieces(source, raw) if source.packing else _pieces(raw)
    except OSError as error:
        raise DataError(f"cannot be read: {error_text(error)}", place=source.name) from error


def _pieces(stream: Any) -> Iterator[bytes]:
    # read1, not read: a pipe's first documents are answered before it is full.
    while piece := stream.read1(_PIECE_BYTES):
        yield piece


def _unpacked_pieces(source: Source, raw: BinaryIO) -> Iterator[bytes]:
    unpacked_bytes = 0
    try:
        with PACKINGS[source.packing](raw) as unpacked:
            for piece in _pieces(unpacked):
                unpacked_bytes += len(piece)
                check_expansion(source, unpacked_bytes, raw.tell(), "unpack it yourself")
                yield piece
    except DataError as error:
        error.place = error.place or source.name
        raise
    except Exception as error:
        if not is_damage(error):
            raise
        # The checksum is that of the whole file and comes last.
        doubt = "; what was read of it may be wrong too" if "CRC" in str(error) else ""
        name = {".gz": "gzip"}.get(source.packing, source.packing[1:])
        raise DataError(
            f"is damaged or not {name} data: {error_text(error)}{doubt}", place=source.name
        ) from error


def text_pieces(source: Source, encoding: str = "utf-8") -> Iterator[str]:
    """Decode a file or standard input piece by piece; a UTF-8 byte order mark is dropped.

    A DataError where it begins with the mark of another encoding or lacks the mark that its own
    needs, and as `byte_pieces`.
    """
    codecs.register_error(_MARKING, _mark)
    pieces = byte_pieces(source)
    if _is_utf8(encoding):
        first = next(pieces, b"")
        _refuse_other_marks(first, source)
        pieces = itertools.chain([first], pieces)
    try:
        yield from codecs.iterdecode(
            pieces, "utf-8-sig" if _is_utf8(encoding) else encoding, _MARKING
        )
    except UnicodeError as error:
        raise DataError(_not_text(encoding, error_text(error)), place=source.name) from error


def whole_text(source: Source, max_characters: int, encoding: str = "utf-8", hint: str = "") -> str:
    """Decode a file or standard input that must be held whole.

    A DataError where it is too long (`hint` says what to do instead) or has bytes that are no text,
    and as `text_pieces`.
    """
    pieces: list[str] = []
    characters = newlines = 0
    for piece in text_pieces(source, encoding):
        if (mark := _first_mark(piece)) is not None:
            line = newlines + piece.count("\n", 0, mark) + 1
            problem = f"line {line} has {_byte(piece[mark])}"
            raise DataError(_not_text(encoding, problem), place=source.name)
        pieces.append(piece)
        characters += len(piece)
        newlines += piece.count("\n")
        if characters > max_characters:
            raise DataError(f"has more than {max_characters:,} characters{hint}", place=source.name)
    return "".join(pieces)


def bad_bytes(text: str, encoding: str) -> str | None:
    """What is wrong with text of `text_pieces`: its first byte that is none; None for nothing."""
    mark = _first_mark(text)
    return None if mark is None else _not_text(encoding, f"it has {_byte(text[mark])}")


def _mark(error: UnicodeError) -> tuple[str, int]:
    # A lone half of a surrogate pair: no decoder gives one for bytes that are text.
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return chr(0xDC00 + error.object[error.start]), error.end


def _first_mark(text: str) -> int | None:
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def _byte(mark: str) -> str:
    return f"the byte 0x{ord(mark) & 0xFF:02x}"


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def _not_text(encoding: str, reason: str) -> str:
    others = "cp1252, as Excel writes it, or utf-16" if _is_utf8(encoding) else "utf-8"
    return (
        f"is not {encoding}: {reason}; set {setting_name('encoding')} to the file's own encoding, "
        f"such as {others}"
    )


def _refuse_other_marks(start: bytes, source: Source) -> None:
    for mark, encoding in _OTHER_MARKS:
        if start.startswith(mark):
            raise DataError(
                f"begins with the byte order mark of {encoding}; "
                f"set {setting_name('encoding')} to {encoding}",
                place=source.name,
            )


def lines(pieces: Iterable[str]) -> Iterator[str]:
    r"""Cut text into lines at ``\n`` and nowhere else, ends kept.

    A line of more than `MAX_ROW_CHARACTERS` loses what follows them, but for at most one piece:
    that it is too long shows in its length, and it is never held whole.
    """
    pending: list[str] = []
    characters = 0
    for piece in pieces:
        *ended, rest = piece.split("\n")
        for line in ended:
            if characters <= MAX_ROW_CHARACTERS:
                pending.append(line)
            yield "".join(pending) + "\n"
            pending.clear()
            characters = 0
        if rest and characters <= MAX_ROW_CHARACTERS:
            pending.append(rest)
            characters += len(rest)
    if pending:
        yield "".join(pending)


def lines_of_any_end(pieces: Iterable[str], source: Source) -> Iterator[str]:
    r"""Cut text into lines at ``\n``, ``\r\n`` and lone ``\r``, ends kept, as `csv` wants them.

    A DataError where one is longer than `MAX_ROW_CHARACTERS`.
    """
    for line in lines(pieces):
        if len(line) > MAX_ROW_CHARACTERS:
            reason = f"a line has more than {MAX_ROW_CHARACTERS:,} characters"
            raise DataError(reason, place=source.name)
        if "\r" in line.removesuffix("\r\n"):
            yield from filter(None, re.split(r"(?<=\r)(?!\n)", line))
        else:
            yield line
