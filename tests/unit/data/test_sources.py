"""Where documents come from: paths, globs, folders, links, formats, the Hub, standard input."""

import gzip
import itertools
import sys

import datasets
import pytest
from reading import error_of, line, load, write

from hierbert import ConfigError, DataError, read_documents
from hierbert.data.readers import allowed_endings, file_format, stdin_formats
from hierbert.data.sources import resolve_sources
from hierbert.data.streams import text_pieces
from hierbert.extend import READERS, Reader, Row, Source


def test_labelled_text_folder(tmp_path) -> None:
    names = ["pos/2.txt", "neg/a/1.txt", "neg-b/1.txt", "pos/10.txt"]
    for name in [*names, ".hidden/x.txt", "pos/.x.txt"]:
        write(tmp_path / name, name.encode())
    write(tmp_path / "metadata.json", b"{}")
    documents = load(tmp_path, label_column="label")
    assert [(item.id, item.text, item.fields["label"]) for item in documents] == [
        ("neg/a/1", "neg/a/1.txt", "neg"),
        ("neg-b/1", "neg-b/1.txt", "neg-b"),
        ("pos/10", "pos/10.txt", "pos"),
        ("pos/2", "pos/2.txt", "pos"),
    ]
    assert documents[3].location == str(tmp_path / "pos" / "2.txt")
    (tmp_path / "metadata.json").unlink()  # beside a text at the top it would be data
    write(tmp_path / "0.txt", b"at the top")
    assert [item.id for item in load(tmp_path)] == ["0", "neg/a/1", "neg-b/1", "pos/10", "pos/2"]
    assert "has no column 'label'" in error_of(tmp_path, label_column="label")


def test_folder_of_data_files_glob_and_list_come_in_order(tmp_path) -> None:
    for name in ("b", "a", "c", "[ab]"):
        write(tmp_path / f"{name}.jsonl", line(name))
    (tmp_path / "notes.md").write_text("not data")
    write(tmp_path / ".hidden.jsonl", line("never"))
    for spec, texts in (
        (tmp_path, ["[ab]", "a", "b", "c"]),
        (tmp_path / "[bc].jsonl", ["b", "c"]),
        (tmp_path / "[ab].jsonl", ["[ab]"]),  # a file that has that very name
        ([str(tmp_path / "c.jsonl"), str(tmp_path / "a*")], ["c", "a"]),
    ):
        assert [item.text for item in load(spec)] == texts


def test_names_that_lead_nowhere_say_what_is_allowed(tmp_path) -> None:
    message = error_of(write(tmp_path / "docs.parquet.gz", b"x"))
    assert message.startswith(f"data.input: {tmp_path / 'docs.parquet.gz'}: ")
    assert "has no known ending; allowed: .csv" in message
    (tmp_path / "empty").mkdir()
    assert "directly in it, no data file; allowed: .csv" in error_of(tmp_path / "empty")
    pattern = str(tmp_path / "*.csv")
    assert f"data.input: no file matches {pattern!r}" in error_of(pattern)
    write(tmp_path / "corpus" / "train.jsonl", line("a"))
    for path in ("corpus/trian.jsonl", "corpsu/train.jsonl"):
        message = error_of(tmp_path / path)
        assert f"data.input: there is no file or folder {str(tmp_path / path)!r}" in message
        assert f"did you mean {str(tmp_path / 'corpus' / 'train.jsonl')!r}" in message
    for spec in ([], "", ["a.csv", " "]):
        assert "data.input is empty" in error_of(spec, ConfigError)
    for spec in ("package://nothing/train", "package://aclsum/dev"):
        assert "allowed: package://aclsum/train" in error_of(spec)
    for spec in ("hub://no-slash", "hub://a/b/c"):
        assert "allowed: hub://user/name#split" in error_of(spec)


def test_the_same_file_twice_by_any_name(tmp_path) -> None:
    path = write(tmp_path / "a.jsonl", line("a"))
    (tmp_path / "link.jsonl").symlink_to(path)
    for other in (tmp_path / "*.jsonl", tmp_path / "." / "a.jsonl", tmp_path / "link.jsonl"):
        assert "twice" in error_of([str(path), str(other)])


def test_links_inside_a_folder_are_refused_and_named_ones_read(tmp_path) -> None:
    write(tmp_path / "outside" / "secret.txt", b"secret")
    write(tmp_path / "outside" / "more.jsonl", line("more"))
    for place, (link, target) in enumerate(
        [("x.txt", "secret.txt"), ("sub", "."), ("x.jsonl", "more.jsonl")]
    ):
        own = tmp_path / f"folder{place}" / link
        write(own.with_name("own.txt" if place < 2 else "own.jsonl"), line("own"))
        own.symlink_to(tmp_path / "outside" / target)
        assert f"{own}: is a symbolic link" in error_of(own.parent)
    assert [item.text for item in load(tmp_path / "folder0" / "x.txt")] == ["secret"]


def test_folders_that_mix_splits_or_kinds_are_refused(tmp_path) -> None:
    for name in ("train.jsonl", "test.jsonl", "imdb/train/pos/1.txt", "imdb/test/pos/1.txt"):
        write(tmp_path / name, line("a"))
    assert "several splits ('test', 'train')" in error_of(tmp_path / "imdb")
    (tmp_path / "imdb").rename(tmp_path / ".hidden")
    assert "several splits ('test.jsonl', 'train.jsonl')" in error_of(tmp_path)
    write(tmp_path / "readme.txt", b"x")
    message = error_of(tmp_path)
    assert "both texts ('readme.txt') and data files ('test.jsonl')" in message


# Formats.


def test_formats_are_known_by_their_endings() -> None:
    known = {
        "a.csv": ("csv", ""), "A.TSV.GZ": ("tsv", ".gz"), "b.ndjson": ("jsonl", ""),
        "x/y.jsonl.gz": ("jsonl", ".gz"), "c.json": ("json", ""), "d.txt": ("txt", ""),
        "e.parquet": ("parquet", ""), "f.csv.ZST": ("csv", ".zst"), "g.HTM": ("html", ""),
        "h.md": ("md", ""),
    }  # fmt: skip
    for name, expected in known.items():
        assert file_format(name) == expected
    for name in ("docs.xlsx", "docs", "docs.parquet.gz", "docs.txt.gz", ".csv", "jsonl", "a.gz"):
        assert file_format(name) is None
    assert stdin_formats() == ("csv", "tsv", "json", "jsonl")


def test_a_format_is_one_entry(tmp_path, monkeypatch) -> None:
    def read_paragraphs(source: Source, encoding: str):
        text = "".join(text_pieces(source, encoding))
        for number, paragraph in enumerate(text.split("\n\n"), 1):
            yield Row({"text": paragraph}, f"{source.name}, paragraph {number}", number)

    reader = Reader(read_paragraphs, (".par",), packed=True, stdin=True)
    monkeypatch.setitem(READERS, "paragraphs", reader)
    write(tmp_path / "a.par", "é\n\nb".encode("latin-1"))
    write(tmp_path / "b.par.gz", gzip.compress(b"c"))
    documents = load(tmp_path, encoding="latin-1")
    assert [(e.id, e.text) for e in documents] == [("a-1", "é"), ("a-2", "b"), ("b-1", "c")]
    message = error_of(tmp_path, label_column="label", encoding="latin-1")
    assert "paragraph 1: has no column 'label'" in message
    assert ".ndjson, .par (each" in allowed_endings() and "paragraphs" in stdin_formats()


# The Hub, without a network.


@pytest.mark.parametrize(
    ("spec", "role", "expected"),
    [
        ("user/name", "validation", ("user/name", None, "validation")),
        ("hub://user/name", "input", ("user/name", None, "train")),
        ("user/name", "documents", ("user/name", None, "test")),
        ("hub://user/name:en#dev[:10]", "train", ("user/name", "en", "dev[:10]")),
        ("user/na-me.v2#test", "train", ("user/na-me.v2", None, "test")),
    ],
)
def test_hub_names(tmp_path, monkeypatch, spec, role, expected):
    monkeypatch.chdir(tmp_path)
    (source,) = resolve_sources(spec, role)
    assert (source.format, source.dataset, source.config, source.split) == ("hub", *expected)


def test_paths_win_over_the_hub(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user").mkdir()
    message = error_of("user/name")
    assert "there is no file or folder 'user/name'" in message and "hub://user/name" in message
    assert "there is no file or folder 'other/name.csv'" in error_of("other/name.csv")
    write(tmp_path / "user" / "name" / "a.txt", b"a")
    assert [item.id for item in load("user/name")] == ["a"]


def test_hub_datasets_are_asked_for_by_name_configuration_and_split(monkeypatch) -> None:
    def load_dataset(name, config, *, split):
        return datasets.Dataset.from_dict({"text": [name, config, split]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    documents = load("hub://user/name:en#dev")
    assert [item.text for item in documents] == ["user/name", "en", "dev"]
    assert documents[1].location == "hub://user/name:en#dev, row 2"


# Standard input.


class EndlessInput:
    """Standard input that never ends and counts what was taken from it."""

    def __init__(self, start: bytes, line: bytes) -> None:
        self.buffer = self
        self.data = itertools.chain([start], itertools.repeat(line))
        self.bytes_read = 0

    def read1(self, size: int) -> bytes:
        piece = next(self.data)
        self.bytes_read += len(piece)
        return piece


@pytest.mark.parametrize(
    ("input_format", "start", "line"),
    [
        ("jsonl", b"", b'{"text": "a"}\n'),
        ("csv", b"text,label\n", b'"a\n",1\n'),
        ("tsv", b"text\tlabel\n", b"a\t1\n"),
    ],
)
def test_standard_input_is_answered_row_by_row(monkeypatch, input_format, start, line) -> None:
    endless = EndlessInput(start or line, line)
    monkeypatch.setattr(sys, "stdin", endless)
    documents = list(itertools.islice(read_documents("-", input_format=input_format), 3))
    assert [item.text.strip() for item in documents] == ["a"] * 3
    assert endless.bytes_read <= len(start) + 5 * len(line)
    unit = "line" if input_format == "jsonl" else "row"
    assert documents[1].location == f"standard input, {unit} 2"


def test_standard_input_is_for_input_only_and_of_a_known_format() -> None:
    with pytest.raises(DataError, match=r"data.train: standard input"):
        resolve_sources("-", "train")
    message = error_of("-", ConfigError, input_format="parquet")
    assert "_format='parquet'" in message and message.endswith("allowed: csv, tsv, json, jsonl")
