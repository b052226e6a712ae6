"""Where documents come from: paths, globs, folders, links, the Hub, standard input."""

import itertools
import json
import sys

import pytest
from reading import error_of, rows_of, values_of

from hierbert.data.readers import read_rows
from hierbert.data.sources import resolve_sources
from hierbert.errors import ConfigError, DataError


def test_labelled_text_folder(tmp_path):
    for name, text in [("pos/2.txt", "x"), ("neg/a/1.txt", ""), ("pos/10.txt", "z")]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.txt").write_text("never")
    (tmp_path / "pos" / ".x.txt").write_text("never")
    (tmp_path / "metadata.json").write_text("{}")
    assert values_of(tmp_path) == [
        {"text": "", "label": "neg", "id": "neg/a/1"},
        {"text": "z", "label": "pos", "id": "pos/10"},
        {"text": "x", "label": "pos", "id": "pos/2"},
    ]
    assert [row.location for row in rows_of(tmp_path)][2] == str(tmp_path / "pos" / "2.txt")
    (tmp_path / "metadata.json").unlink()  # beside a text at the top it would be data
    (tmp_path / "0.txt").write_text("at the top")
    assert values_of(tmp_path)[:2] == [
        {"text": "at the top", "id": "0"},
        {"text": "", "id": "neg/a/1"},
    ]


def test_folder_of_data_files_glob_and_list_come_in_order(tmp_path):
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name}))
    (tmp_path / "notes.md").write_text("not data")
    assert [v["text"] for v in values_of(tmp_path)] == ["a", "b", "c"]
    assert [v["text"] for v in values_of(tmp_path / "[ab].jsonl")] == ["a", "b"]
    listed = [str(tmp_path / "c.jsonl"), str(tmp_path / "a*")]
    assert [v["text"] for v in values_of(listed)] == ["c", "a"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path):
    (tmp_path / "a[1].jsonl").write_text('{"text": "bracket"}')
    (tmp_path / "a1.jsonl").write_text('{"text": "plain"}')
    assert values_of(tmp_path / "a[1].jsonl") == [{"text": "bracket"}]


# Names that lead nowhere.


def test_names_that_lead_nowhere_say_what_is_allowed(tmp_path):
    for name in ("docs.xlsx", "docs.parquet.gz"):
        (tmp_path / name).write_text("x")
    folder = tmp_path / "docs.jsonl"
    folder.mkdir()
    for path, problem in [
        (tmp_path / "docs.xlsx", "has no known ending; allowed: .csv"),
        (tmp_path / "docs.parquet.gz", "has no known ending; allowed: .csv"),
        (folder, "holds no .txt file and, directly in it, no data file; allowed: .csv"),
    ]:
        message = error_of(path)
        assert message.startswith(f"data.train: {path}: ") and problem in message
    pattern = str(tmp_path / "*.csv")
    assert f"data.train: no file matches {pattern!r}" in error_of(pattern)


def test_path_not_found_names_the_near_ones(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.jsonl").write_text("{}")
    wrong = tmp_path / "corpus" / "trian.jsonl"
    for path in (wrong, tmp_path / "corpsu" / "train.jsonl"):
        message = error_of(path)
        assert f"data.train: there is no file or folder {str(path)!r}" in message
        assert f"did you mean {str(tmp_path / 'corpus' / 'train.jsonl')!r}" in message


@pytest.mark.parametrize("spec", [[], "", [""], ["a.csv", " "]])
def test_empty_setting(spec):
    with pytest.raises(ConfigError, match=r"data.train is empty"):
        resolve_sources(spec, "train")


def test_the_same_file_twice_by_any_name(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("{}")
    (tmp_path / "link.jsonl").symlink_to(path)
    for other in (tmp_path / "*.jsonl", tmp_path / "." / "a.jsonl", tmp_path / "link.jsonl"):
        assert "twice" in error_of([str(path), str(other)])


def test_links_inside_a_folder_are_refused_and_named_ones_read(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (outside / "more.jsonl").write_text('{"text": "more"}')
    for place, (link, target) in enumerate(
        [("x.txt", "secret.txt"), ("sub", "."), ("x.jsonl", "more.jsonl")]
    ):
        folder = tmp_path / f"folder{place}"
        folder.mkdir()
        (folder / "own.txt").write_text("own") if place < 2 else None
        (folder / link).symlink_to(outside / target)
        message = error_of(folder)
        assert f"{folder / link}: is a symbolic link" in message
    assert values_of(tmp_path / "folder0" / "x.txt") == [{"text": "secret"}]


def test_folders_that_mix_splits_or_kinds_are_refused(tmp_path):
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text('{"text": "a"}')
    assert "several splits ('test.jsonl', 'train.jsonl')" in error_of(tmp_path)
    (tmp_path / "readme.txt").write_text("x")
    message = error_of(tmp_path)
    assert "both .txt files ('readme.txt') and data files ('test.jsonl')" in message
    for name in ("train/pos", "test/pos"):
        (tmp_path / "imdb" / name).mkdir(parents=True)
        (tmp_path / "imdb" / name / "1.txt").write_text("x")
    assert "several splits ('test', 'train')" in error_of(tmp_path / "imdb")


@pytest.mark.parametrize(
    "spec", ["package://nothing/train", "package://aclsum/dev", "hub://no-slash", "hub://a/b/c"]
)
def test_unknown_packages_and_malformed_hub_names(spec):
    with pytest.raises(DataError, match=r"allowed: (package://aclsum/train|hub://user/name#split)"):
        resolve_sources(spec, "train")


# The Hub, without a network.


@pytest.mark.parametrize(
    ("spec", "role", "expected"),
    [
        ("user/name", "validation", ("user/name", None, "validation")),
        ("hub://user/name", "input", ("user/name", None, "train")),
        ("hub://user/name:en#dev[:10]", "train", ("user/name", "en", "dev[:10]")),
        ("user/na-me.v2#test", "train", ("user/na-me.v2", None, "test")),
    ],
)
def test_hub_names(tmp_path, monkeypatch, spec, role, expected):
    monkeypatch.chdir(tmp_path)
    (source,) = resolve_sources(spec, role)
    assert (source.format, source.dataset, source.config, source.split) == ("hub", *expected)


def test_paths_win_over_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user").mkdir()
    with pytest.raises(DataError, match=r"there is no file or folder 'user/name'.*hub://user/name"):
        resolve_sources("user/name", "train")
    with pytest.raises(DataError, match=r"there is no file or folder 'other/name.csv'"):
        resolve_sources("other/name.csv", "train")
    (tmp_path / "user" / "name").mkdir()
    (tmp_path / "user" / "name" / "a.txt").write_text("a")
    assert resolve_sources("user/name", "train")[0].format == "folder"


def test_hub_rows_have_the_names_of_their_labels(monkeypatch):
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": names, "tags": datasets.List(names)}
    )
    columns = {"text": ["a", "b", "c"], "label": [1, -1, 0], "tags": [[0, 1], [], [1]]}
    asked = []

    def load_dataset(name, config, *, split):
        asked.append((name, config, split))
        return datasets.Dataset.from_dict(columns, features=features)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    rows = rows_of("hub://user/name:en#dev")
    assert asked == [("user/name", "en", "dev")]
    assert [row.values for row in rows] == [
        {"text": "a", "label": "pos", "tags": ["neg", "pos"]},
        {"text": "b", "label": None, "tags": []},
        {"text": "c", "label": "neg", "tags": ["pos"]},
    ]
    assert rows[1].location == "hub://user/name:en#dev, row 2"


# Standard input.


class EndlessInput:
    """Standard input that never ends and counts what was taken from it."""

    def __init__(self, start, line):
        self.buffer = self
        self.data = itertools.chain([start], itertools.repeat(line))
        self.bytes_read = 0

    def read1(self, size):
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
def test_standard_input_is_answered_row_by_row(monkeypatch, input_format, start, line):
    endless = EndlessInput(start or line, line)
    monkeypatch.setattr(sys, "stdin", endless)
    (source,) = resolve_sources("-", "input", input_format=input_format)
    rows = list(itertools.islice(read_rows(source), 3))
    assert [row.values["text"].strip() for row in rows] == ["a"] * 3
    assert endless.bytes_read <= len(start) + 5 * len(line)
    unit = "line" if input_format == "jsonl" else "row"
    assert rows[1].location == f"standard input, {unit} 2"


def test_standard_input_is_for_input_only_and_of_a_known_format():
    with pytest.raises(DataError, match=r"data.train: standard input"):
        resolve_sources("-", "train")
    with pytest.raises(ConfigError, match=r"_format='parquet' .*allowed: csv, tsv, json, jsonl$"):
        resolve_sources("-", "input", input_format="parquet")
