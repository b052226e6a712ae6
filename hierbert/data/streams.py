"""Files and standard input as text, one piece of a few thousand characters at a time.

It does not parse. Invariant: at most one piece (or, for lines, one line) is held, and every failure
to open, unzip or decode is a `DataError` that names the file and, for bytes that are not text, the
line and the byte.
"""

import codecs
import gzip
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from hierbert.data.sources import Source
from hierbert.errors import ConfigError, DataError, Setting, config_setting

MAX_DECOMPRESSED_BYTES = 64 * 2**30
"""A gzipped file that unpacks to more than this is refused."""
MAX_EXPANSION = 1000
"""A gzipped file that unpacks to more than this many times its size is refused..."""
EXPANSION_FREE_BYTES = 100 * 10**6
"""...once it has unpacked to more than this."""

MAX_ROW_CHARACTERS = 2**28
"""A line of JSON Lines, a field of a table or a text file that is longer than this is refused."""
MAX_JSON_CHARACTERS = 2**30
"""A JSON file, which is held whole, that is longer than this is refused."""

_PIECE_BYTES = 1 << 16
_MARKING = "hierbert.mark_bad_bytes"
_OTHER_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class StreamClosedError(DataError):
    """There is no standard input: no mistake of the corpus."""


class LongLineError(ValueError):
    """A line of a table is longer than is allowed."""


def check_encoding(encoding: str, setting: Setting = config_setting) -> None:
    """Refuse a name that is not a text encoding of Python's.

    Raises:
        ConfigError: The name is unknown.
    """
    try:
        "a".encode(encoding)
    except (LookupError, ValueError) as error:
        raise ConfigError(
            f"{setting('encoding')}: unknown encoding {encoding!r}; "
            "use a name that Python knows, such as utf-8, latin-1, cp1252, utf-16 or gb18030"
        ) from error


def byte_pieces(source: Source) -> Iterator[bytes]:
    """Read a file or standard input, unzipped, as pieces of at most 64 KiB.

    Raises:
        DataError: It cannot be opened or read, its gzip data is damaged or unpacks to too much.
    """
    if source.path is None:
        buffer = getattr(sys.stdin, "buffer", None)
        if buffer is None:
            raise StreamClosedError(f"{source.field}: standard input is closed")
        yield from _pieces(buffer)
        return
    try:
        with open(source.path, "rb") as raw:
            yield from _unzipped_pieces(source, raw) if source.gzipped else _pieces(raw)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{source.field}: cannot read {source.name!r}: {reason}") from error


def _pieces(stream: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    # read1, not read: a pipe's first documents are answered before it is full.
    while piece := stream.read1(_PIECE_BYTES):  # type: ignore[union-attr]
        yield piece


def _unzipped_pieces(source: Source, raw: BinaryIO) -> Iterator[bytes]:
    unzipped_bytes = 0
    try:
        with gzip.GzipFile(fileobj=raw) as unzipped:
            for piece in _pieces(unzipped):
                unzipped_bytes += len(piece)
                too_dense = (
                    unzipped_bytes > EXPANSION_FREE_BYTES
                    and unzipped_bytes > MAX_EXPANSION * raw.tell()
                )
                if too_dense or unzipped_bytes > MAX_DECOMPRESSED_BYTES:
                    raise DataError(
                        f"{source.field}: {source.name!r} unpacks to more than is allowed "
                        f"({MAX_DECOMPRESSED_BYTES:,} bytes, or {MAX_EXPANSION} times its size "
                        f"past {EXPANSION_FREE_BYTES:,} bytes); unpack it yourself if it is right"
                    )
                yield piece
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        # The checksum is that of the whole file and comes last.
        doubt = "; what was read of it may be wrong too" if "CRC" in str(error) else ""
        raise DataError(
            f"{source.field}: {source.name!r} is damaged or not gzip data: {error}{doubt}"
        ) from error


def text_pieces(
    source: Source,
    encoding: str = "utf-8",
    setting: Setting = config_setting,
    *,
    mark_bad_bytes: bool = False,
) -> Iterator[str]:
    """Decode a file or standard input piece by piece; a UTF-8 byte order mark is dropped.

    Args:
        source: A file or standard input.
        encoding: Any text encoding of Python's.
        setting: How the user writes the setting that would change the encoding.
        mark_bad_bytes: Whether bytes that are not text in this encoding become marks that
            `bad_byte` finds, so that the text around them can be read.

    Raises:
        ConfigError: The encoding is unknown.
        DataError: Bytes that are not text in this encoding, and whatever `byte_pieces` raises.
    """
    check_encoding(encoding, setting)
    utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    errors = "strict"
    if mark_bad_bytes:
        errors = _MARKING
        codecs.register_error(errors, _mark)
    decoder = codecs.getincrementaldecoder("utf-8-sig" if utf8 else encoding)(errors)
    bytes_before = newlines_before = 0
    pieces = byte_pieces(source)
    last = False
    while not last:
        piece = next(pieces, b"")
        last = not piece
        if utf8 and bytes_before == 0:
            _refuse_other_marks(piece, source, setting)
        try:
            text = decoder.decode(piece, final=last)
        except UnicodeDecodeError as error:
            # The decoder holds back the start of a character that a piece cut in two, and drops a
            # byte order mark: error.object differs from the piece by just those bytes.
            byte = bytes_before + len(piece) - len(error.object) + error.start
            good = error.object[: error.start].decode(error.encoding, "replace")
            raise DataError(
                f"{source.field}: {source.name!r} is not {encoding}: line "
                f"{newlines_before + good.count(chr(10)) + 1} (byte {byte}) has the byte "
                f"0x{error.object[error.start]:02x} ({error.reason}); set {setting('encoding')} "
                f"to the file's own encoding, such as {_other_encodings(utf8)}"
            ) from error
        except UnicodeError as error:
            raise DataError(
                f"{source.field}: {source.name!r} is not {encoding}: {error}; "
                f"set {setting('encoding')} to the file's own encoding"
            ) from error
        bytes_before += len(piece)
        newlines_before += text.count("\n")
        if text:
            yield text


def whole_text(
    source: Source,
    max_characters: int,
    encoding: str = "utf-8",
    setting: Setting = config_setting,
    hint: str = "",
) -> str:
    """Decode a file or standard input that must be held whole.

    Args:
        source: A file or standard input.
        max_characters: What it may hold at most.
        encoding: See `text_pieces`.
        setting: See `text_pieces`.
        hint: What to do instead with one that is longer.

    Raises:
        ConfigError: The encoding is unknown.
        DataError: It is longer, and whatever `text_pieces` raises.
    """
    pieces: list[str] = []
    characters = 0
    for piece in text_pieces(source, encoding, setting):
        pieces.append(piece)
        characters += len(piece)
        if characters > max_characters:
            raise DataError(
                f"{source.field}: {source.name!r} has more than {max_characters:,} characters{hint}"
            )
    return "".join(pieces)


def bad_byte(text: str) -> int | None:
    """Find the first byte that `text_pieces` marked as no text.

    Args:
        text: Decoded with ``mark_bad_bytes``.

    Returns:
        The byte, 0 to 255; None when all of `text` is text.
    """
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return ord(text[error.start]) & 0xFF
    return None


def bad_byte_reason(byte: int, encoding: str, setting: Setting = config_setting) -> str:
    """Say that a row holds bytes that are not text, and which setting names their encoding."""
    utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    return (
        f"is not {encoding}: it has the byte 0x{byte:02x}; set {setting('encoding')} to the file's "
        f"own encoding, such as {_other_encodings(utf8)}"
    )


def _mark(error: UnicodeError) -> tuple[str, int]:
    # A lone half of a surrogate pair: no decoder gives one for bytes that are text.
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return chr(0xDC00 + error.object[error.start]), error.end


def _other_encodings(utf8: bool) -> str:
    return "latin-1 or utf-16" if utf8 else "utf-8"


def _refuse_other_marks(start: bytes, source: Source, setting: Setting) -> None:
    for mark, encoding in _OTHER_MARKS:
        if start.startswith(mark):
            raise DataError(
                f"{source.field}: {source.name!r} begins with the byte order mark of {encoding}; "
                f"set {setting('encoding')} to {encoding}"
            )


def lines(pieces: Iterable[str], max_characters: int = MAX_ROW_CHARACTERS) -> Iterator[str]:
    r"""Cut text into lines at ``\n`` and nowhere else, ends kept.

    A line of more than `max_characters` loses what follows them, but for at most one piece: that
    it is too long shows in its length, and it is never held whole.
    """
    pending: list[str] = []
    characters = 0
    for piece in pieces:
        *ended, rest = piece.split("\n")
        for line in ended:
            if characters <= max_characters:
                pending.append(line)
            yield "".join(pending) + "\n"
            pending.clear()
            characters = 0
        if rest and characters <= max_characters:
            pending.append(rest)
            characters += len(rest)
    if pending:
        yield "".join(pending)


def lines_of_any_end(pieces: Iterable[str]) -> Iterator[str]:
    r"""Cut text into lines at ``\n``, ``\r\n`` and lone ``\r``, ends kept, as `csv` wants them.

    Raises:
        LongLineError: A line is longer than `MAX_ROW_CHARACTERS`.
    """
    for line in lines(pieces):
        if len(line) > MAX_ROW_CHARACTERS:
            raise LongLineError(f"a line has more than {MAX_ROW_CHARACTERS:,} characters")
        if "\r" in line.removesuffix("\r\n"):
            yield from filter(None, re.split(r"(?<=\r)(?!\n)", line))
        else:
            yield line
