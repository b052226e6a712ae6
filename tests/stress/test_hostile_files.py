"""Files that are none, that may not be read, or that do not stay as they were."""

import codecs
import os
import socket
import sys

import datasets
import pytest
from reading import broken, check, error_of, line, load, load_all, write

from hierbert import ConfigError, DataError, read_documents
from hierbert.extend import BrokenRow

A, B, C = line("a"), line("b"), line("c")


def test_pipes_devices_and_sockets_are_refused_before_they_are_opened(
    tmp_path, monkeypatch
) -> None:
    os.mkfifo(tmp_path / "f.jsonl")
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    (tmp_path / "nothing.csv").symlink_to(tmp_path / "gone.csv")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # a socket's path must be short
        listener.bind("s.txt")
    for spec, reason in [
        (tmp_path / "f.jsonl", "is no file but a pipe, a socket or a device; standard input"),
        (tmp_path / "*.jsonl", "is no file but a pipe"),
        (tmp_path / "zero.jsonl", "is no file but a pipe, a socket or a device"),
        (tmp_path / "*.csv", "is no file but a link to nothing"),
        (tmp_path / "s.txt", "s.txt: is no file but a pipe, a socket"),
        (tmp_path, "s.txt: is no file but a pipe"),
    ]:
        with pytest.raises(DataError, match=reason):
            read_documents(spec)
    (tmp_path / "s.txt").unlink()
    assert "f.jsonl: is no file but a pipe" in error_of(tmp_path)
    (tmp_path / "f.jsonl").unlink()
    (tmp_path / "zero.jsonl").unlink()
    assert "nothing.csv: is a symbolic link inside a folder" in error_of(tmp_path)


def test_a_directory_named_like_a_file_and_paths_with_dots(tmp_path) -> None:
    (tmp_path / "f.jsonl").mkdir()
    assert "f.jsonl: the folder holds no text, HTML or Markdown" in error_of(tmp_path / "f.jsonl")
    write(tmp_path / "g.jsonl", A)
    assert [item.id for item in load(tmp_path)] == ["g-1"]
    assert [item.id for item in load(tmp_path / "*.jsonl")] == ["g-1"]
    write(tmp_path / "f.jsonl" / "x.txt", b"inside")
    write(tmp_path / "f.jsonl" / "..hidden.txt", b"hidden")
    for path in (tmp_path / "f.jsonl", tmp_path / "f.jsonl" / ".." / "f.jsonl"):
        assert [item.id for item in load(path)] == ["x"]


def test_what_may_not_be_read_or_is_gone_costs_that_file_only(tmp_path, monkeypatch) -> None:
    spec = [str(write(tmp_path / f"{name}.jsonl", A)) for name in "abc"]
    items = read_documents(spec, keep_broken=True)
    assert next(items).id == "a-1"
    (tmp_path / "b.jsonl").unlink()
    gone, last = items
    assert last.id == "c-1"
    reason = "cannot be read: No such file or directory; nothing of the file was read"
    assert gone == BrokenRow(None, spec[1], reason)
    write(tmp_path / "b.jsonl", A)
    opened = open

    def refuse(path, *args, **kwargs):  # root may read anything, so chmod would test nothing
        if str(path) == spec[1]:
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr("builtins.open", refuse)
    found = load_all(spec)
    assert [item.id for item in found] == ["a-1", None, "c-1"]
    assert "Permission denied; nothing of the file was read" in found[1].reason


def test_texts_of_a_folder_break_one_by_one(tmp_path) -> None:
    contents = {"a": b"fine", "b": b"caf\xe9", "c": codecs.BOM_UTF16_LE + b"a\0", "d": b""}
    for name, data in contents.items():
        write(tmp_path / "pos" / f"{name}.txt", data)
    expected = [
        ("pos/a", "fine"),
        broken("^is not utf-8: line 1 has the byte 0xe9", "/pos/b.txt"),
        broken("^begins with the byte order mark of utf-16; set --encoding to utf-16$", "c.txt"),
        ("pos/d", ""),
    ]
    check(tmp_path, expected)


def test_a_column_that_no_row_has_is_told_behind_the_rows(tmp_path) -> None:
    path = write(tmp_path / "f.jsonl", A, b"[\n", C)
    kept = load_all(path, label_column="topic")
    assert [item.id for item in kept] == ["f-1", None, "f-3", None]
    assert kept[-1].location == str(path) and "has no column 'topic'" in kept[-1].reason


def test_what_is_no_mistake_of_a_file_still_ends_the_reading(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="standard input is closed"):
        load_all("-")
    path = write(tmp_path / "f.jsonl", A)
    for encoding in ("klingon", "hex", "a\0b"):
        with pytest.raises(
            ConfigError, match=r"encoding=.* is no known encoding of text files; .*utf-8"
        ):
            load_all(path, encoding=encoding)

    def no_network(*args, **kwargs):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(datasets, "load_dataset", no_network)
    with pytest.raises(DataError, match=r"hub://user/name#train: .*split 'train'.*no network"):
        load_all("hub://user/name")
