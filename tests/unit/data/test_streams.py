"""Bytes to text to lines: the same whatever the pieces, and bounded whatever the file."""

import gzip
import io
import itertools
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import broken, check, error_of, line, load, write

from hierbert.data import streams
from hierbert.data.document import Source

A, C = line("a"), line("c")


@settings(deadline=None, max_examples=100)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-32", "gb18030", "UTF8"]),
    bad=st.booleans(),
    piece_bytes=st.integers(1, 9),
)
def test_text_is_the_same_whatever_the_pieces(
    tmp_path_factory, text, encoding, bad, piece_bytes
) -> None:
    text = text.removeprefix("\ufeff")
    data = text.encode(encoding) + b"\xff" * bad
    path = write(tmp_path_factory.mktemp("pieces") / "f.txt", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_PIECE_BYTES", piece_bytes)
        found = "".join(streams.text_pieces(Source("f.txt", "txt", path), encoding))
    assert found.startswith(text) and (found == text) != bad
    assert (streams.bad_bytes(found, encoding) is None) != bad


@settings(deadline=None, max_examples=100)
@given(
    text=st.text(st.sampled_from("ab\r\n\x85\u2028"), max_size=20), cuts=st.sets(st.integers(1, 19))
)
def test_lines_are_cut_as_python_does_wherever_the_pieces_end(text, cuts) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    found = list(streams.lines_of_any_end(pieces, Source("f", "csv")))
    assert found == list(io.StringIO(text, newline=""))
    assert list(streams.lines(pieces)) == list(io.StringIO(text, newline="\n"))


def test_the_line_of_a_bad_byte_is_counted_over_all_pieces(tmp_path) -> None:
    before = "text\né" * 40_000  # the pieces end in the middle of characters
    for name in ("docs.txt", "docs.json"):
        message = error_of(write(tmp_path / name, before.encode(), b"caf\xe9 au lait"))
        assert f"{tmp_path / name}: is not utf-8: line 40001 has the byte 0xe9" in message
        assert "data.encoding" in message and "cp1252, as Excel writes it, or utf-16" in message


@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_the_mark_of_another_encoding_names_it(tmp_path, encoding, order) -> None:
    path = write(tmp_path / "docs.csv", "\ufefftext\né\n".encode(f"{encoding}-{order}"))
    assert f"begins with the byte order mark of {encoding}; set" in error_of(path)
    assert [item.text for item in load(path, encoding=encoding)] == ["é"]


def test_a_mark_that_an_encoding_needs_is_missed(tmp_path) -> None:
    path = write(tmp_path / "docs.csv", "text\né\n".encode("utf-16-le"))
    assert "does not start with BOM" in error_of(path, encoding="utf-16")
    assert [item.text for item in load(path, encoding="utf-16-le")] == ["é"]


# Limits.


def test_gzip_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch) -> None:
    path = write(tmp_path / "docs.jsonl.gz", gzip.compress(line(" " * 300_000)))
    assert len(load(path)) == 1
    monkeypatch.setattr(streams, "MAX_DECOMPRESSED_BYTES", 200_000)
    assert "unpacks to more than is allowed (200,000 bytes" in error_of(path)
    monkeypatch.undo()
    with monkeypatch.context() as patch:
        patch.setattr(streams, "EXPANSION_FREE_BYTES", 200_000)
        assert len(load(path)) == 1  # large, but not dense
    monkeypatch.setattr(streams, "MAX_EXPANSION", 100)
    assert len(load(path)) == 1  # dense, but small
    monkeypatch.setattr(streams, "EXPANSION_FREE_BYTES", 200_000)
    assert "unpacks to more than is allowed" in error_of(path)


@pytest.fixture
def peak_bytes():
    """Bytes that Python has held at most since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["bomb.jsonl.gz", "bomb.csv.gz", "bomb.json.gz"])
def test_a_gzip_bomb_is_stopped_early(tmp_path, monkeypatch, peak_bytes, name) -> None:
    zipper = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    path = write(tmp_path / name, *(zipper.compress(zeros) for _ in range(100)), zipper.flush())
    assert path.stat().st_size < 150_000  # 100 MB unpacked
    monkeypatch.setattr(streams, "EXPANSION_FREE_BYTES", 10**6)
    monkeypatch.setattr(streams, "MAX_EXPANSION", 100)
    check(path, [broken("unpacks to more than is allowed")])
    assert peak_bytes() < 60 * 2**20


def test_a_line_without_end_is_never_held_whole(tmp_path, monkeypatch, peak_bytes) -> None:
    monkeypatch.setattr(streams, "MAX_ROW_CHARACTERS", 100_000)
    monkeypatch.setattr(streams, "MAX_JSON_CHARACTERS", 100_000)
    endless = b'{"text": "' + b"x" * 10_000_000 + b'"}\n'
    too_long = broken("has more than 100,000 characters")
    path = write(tmp_path / "f.jsonl", A, endless, C, endless[:-1])
    table = write(tmp_path / "f.csv", b"text\na\n", endless, b"c\n")
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    check(path, [("f-1", "a"), too_long, ("f-3", "c"), too_long])
    check(table, [("f-1", "a"), broken("a line has more than 100,000.*after row 1 was not read")])
    for name in ("f.txt", "f.json"):
        check(write(tmp_path / name, endless), [too_long])
    assert peak_bytes() - before < 5_000_000


def test_a_line_of_the_longest_length_is_read(monkeypatch) -> None:
    monkeypatch.setattr(streams, "MAX_ROW_CHARACTERS", 4)
    pieces = ["ab", "c\nab", "cd\n", "abcd"]
    assert list(streams.lines(pieces)) == ["abc\n", "abcd\n", "abcd"]
    assert [len(cut) for cut in streams.lines(["abcde" * 3, "x" * 50, "\n", "y"])] == [16, 1]
