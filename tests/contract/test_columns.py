"""Columns and files as they come: other delimiters and names, columns that are kept, odd files."""

import csv
import gzip
import json

import pytest
from commands import read_jsonl, refuse, run, succeed, write_jsonl

import hierbert


@pytest.fixture
def infer(models, tmp_path):
    def run_it(*arguments, output="out.jsonl", succeeds=True):
        call = ("infer.py", "--model", models["both"], "--output", tmp_path / output, *arguments)
        return succeed(*call, here=True) if succeeds else run(*call, here=True)

    return run_it


HEADERS = {
    ",": 'id,text\n1,"a, b; c"\n2,d\n',
    ";": "id;text\n1;a, b\n2;c\n",
    "\t": "id\ttext\n1\ta; b\n2\tc\n",
    "|": 'id|text\n1|"a|b"\n2|c\n',
}


@pytest.mark.parametrize("delimiter", HEADERS)
def test_a_delimiter_is_known_by_the_header_or_named(tmp_path, delimiter) -> None:
    path = tmp_path / "docs.csv"
    path.write_text(HEADERS[delimiter])
    expected = list(csv.DictReader(HEADERS[delimiter].splitlines(), delimiter=delimiter))
    for named in (None, delimiter):
        found = list(hierbert.read_documents(path, delimiter=named))
        assert [(one.id, one.text) for one in found] == [(r["id"], r["text"]) for r in expected]
    with pytest.raises(hierbert.DataError, match="text_column"):
        list(hierbert.read_documents(path, delimiter="#"))
    with pytest.raises(hierbert.ConfigError, match="one character"):
        list(hierbert.read_documents(path, delimiter="ab"))


def test_a_delimiter_is_an_option_and_a_setting(infer, encoders, tmp_path) -> None:
    path = tmp_path / "docs.csv"
    path.write_text("text#label\na, b#x\nc; d#y\n" * 4 + "e#x\n")
    path.write_text("text#label\n" + "".join(f"a, {n}#{'xy'[n % 2]}\n" for n in range(8)))
    infer("--input", path, "--delimiter", "#", "--task", "classify")
    assert len(read_jsonl(tmp_path / "out.jsonl")) == 8
    succeed(
        "train.py", f"data.train={path}", "data.delimiter=#", "data.label_column=label",
        f"model.encoder={encoders['bert']}", "model.aggregator_layers=1", "training.epochs=1",
        f"run_dir={tmp_path / 'run'}", here=True,
    )  # fmt: skip
    line = refuse("infer.py", "--model", "m", "--input", path, "--output", "-", "--delimiter", "::",
                  here=True)  # fmt: skip
    assert "--delimiter=::" in line or "'::'" in line


def test_the_text_may_stand_in_one_of_several_columns(infer, tmp_path) -> None:
    a = tmp_path / "a.csv"
    a.write_text("id,body,text\n1,from the body,not this\n")
    b = write_jsonl(tmp_path / "b.jsonl", [{"id": "2", "text": "x"}, {"id": "3", "abstract": "y"}])
    column = ("--text-column", "a.csv=body|text|abstract")
    infer("--input", a, b, *column, "--task", "summarize", "--max-words", "9")
    rows = read_jsonl(tmp_path / "out.jsonl")
    assert [row["summary"] for row in rows] == ["from the body", "x", "y"]
    # A column of just that name is meant first.
    c = write_jsonl(tmp_path / "c.jsonl", [{"id": "4", "p|q": "this", "p": "other"}])
    infer("--input", c, "--text-column", "p|q", "--task", "summarize", output="c.out.jsonl")
    assert read_jsonl(tmp_path / "c.out.jsonl")[0]["summary"] == "this"


def test_files_whose_column_is_not_named_have_the_usual_one(infer, tmp_path) -> None:
    for name, header in (("a", "body,text"), ("b", "text,body")):
        (tmp_path / f"{name}.csv").write_text(f"{header}\nthis,not this\n")
    files = ("--input", tmp_path / "a.csv", tmp_path / "b.csv", "--task", "summarize")
    infer(*files, "--text-column", "a.csv=body")
    assert [row["summary"] for row in read_jsonl(tmp_path / "out.jsonl")] == ["this"] * 2
    for named in ("A.csv=body", "c.csv=body|text", "text|c.jsonl.gz=body"):
        done = infer(*files, "--text-column", named, output="other.jsonl", succeeds=False)
        error = done.stderr.splitlines()[-1]
        assert done.returncode == 2 and f"--text-column='{named}' is of " in error, error
        assert "none of the files that are read" in error


def test_a_column_of_a_file_that_is_not_read_is_refused_by_every_reader(models, tmp_path) -> None:
    train, test = (tmp_path / f"{name}.csv" for name in ("train", "test"))
    for path in (train, test):
        path.write_text("text,body,label\n" + "".join(f"a {n},b,{'xy'[n % 2]}\n" for n in range(4)))
    settings = (f"data.train={train}", f"data.test={test}", "data.label_column=label")
    line = refuse("train.py", *settings, "data.text_column=text|tset.csv=body", here=True)
    assert "data.text_column='text|tset.csv=body' is of 'tset.csv'" in line
    assert "did you mean 'test.csv'?" in line
    # One of the test file alone is of a file that is read; what is no file's is a column's name.
    for column in ("test.csv=bdy", "bdy|test.cvs=body"):
        line = refuse("train.py", *settings, f"data.text_column={column}", here=True)
        assert "has no column" in line and "bdy" in line, line
    scored = ("--model", models["both"], "--input", test, "--train", train)
    line = refuse("hierbert-evaluate", *scored, "--text-column", "train.csv=text|tset.csv=body",
                  here=True)  # fmt: skip
    assert "--text-column='train.csv=text|tset.csv=body' is of 'tset.csv'" in line
    with pytest.raises(hierbert.ConfigError, match=r"is of 'a\.csv'"):
        hierbert.read_documents(str(test), text_column="a.csv=body")


def test_a_delimiter_that_excel_is_told_or_that_a_shell_writes(tmp_path) -> None:
    path = tmp_path / "docs.csv"
    for line, between in (
        ("sep=;\n", ";"),
        ('"sep=|"\r\n', "|"),
        ("SEP=\t\n", "\t"),
        ("sep=#\n", "#"),
    ):
        path.write_text(f"{line}id{between}text\n1{between}a, b\n", newline="")
        (found,) = hierbert.read_documents(path)
        assert (found.id, found.text) == ("1", "a, b")
    path.write_text("text\tid\na; b\t1\n")
    (found,) = hierbert.read_documents(path, delimiter="\\t")
    assert (found.id, found.text) == ("1", "a; b")
    # What is not known is named.
    for table in ("text^id\na^1\n", "id;text;title, sub\n1;a, b;c\n", "id;text;a, b\n1;a;c\n"):
        path.write_text(table)
        with pytest.raises(hierbert.DataError, match=r"data\.delimiter names what is between"):
            list(hierbert.read_documents(path))


def test_columns_are_kept_in_the_answers(infer, tmp_path) -> None:
    rows = [
        {"id": "1", "text": "The cat.", "label": "x", "year": 2020, "tags": ["a"], "note": None},
        {"id": "2", "text": "A dog.", "label": "y", "year": 2021, "tags": [], "note": "é"},
    ]
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    keep = ("--keep-columns", "label=gold,year,tags", "--keep-columns", "note")
    names = {"gold": "label", "year": "year", "tags": "tags", "note": "note"}
    infer("--input", docs, *keep, "--task", "classify")
    answers = read_jsonl(tmp_path / "out.jsonl")
    assert [{new: row[new] for new in names} for row in answers] == [
        {new: row[old] for new, old in names.items()} for row in rows
    ]
    assert list(answers[0])[:2] == ["id", "gold"] and answers[0]["label"] in ("art", "law", "a.b")
    infer("--input", docs, *keep, "--task", "classify", output="out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["gold"] for row in table] == ["x", "y"] and table[0]["tags"] == '["a"]'
    infer("--input", docs, *keep, "--task", "classify", output="out.parquet")
    # Other columns are another job.
    done = infer("--input", docs, "--task", "classify", "--rows-per-shard", "1", output="shards")
    more = ("--rows-per-shard", "1", "--resume", *keep)
    done = infer("--input", docs, "--task", "classify", *more, output="shards", succeeds=False)
    assert done.returncode == 2 and "--keep-columns" in done.stderr


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("label", "an answer has 'label' itself: label=NEW"),
        ("year,year", "given twice"),
        ("year,,", "not allowed"),
        ("yaer", "did you mean 'year'"),
    ],
)
def test_columns_that_cannot_be_kept_are_refused(infer, tmp_path, names, told) -> None:
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"text": "a", "label": "x", "year": 1}])
    done = infer("--input", docs, "--keep-columns", names, succeeds=False)
    assert done.returncode == 2 and told in done.stderr and "--keep-columns" in done.stderr
    assert len(done.stderr.splitlines()[-1]) < 300


def test_a_file_that_is_refused_as_a_whole_is_counted_as_one(infer, tmp_path) -> None:
    good, other = tmp_path / "good.csv", tmp_path / "other.csv"
    good.write_text("id,text\n" + "".join(f"{n},The cat.\n" for n in range(3)))
    other.write_text("key,body\n" + "".join(f"{n},A dog.\n" for n in range(1500)))
    done = infer("--input", good, other, "--on-error", "skip", succeeds=False)
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert "3 documents" in last and "1 file refused, 1,500 rows unread" in last
    (error,) = read_jsonl(tmp_path / "out.errors.jsonl")
    assert "has no column 'text'" in error["reason"] and "1,500 rows" in error["reason"]


def test_names_keep_their_spaces_and_advice_can_be_copied(encoders, tmp_path) -> None:
    path = tmp_path / "docs.csv"
    path.write_text("Full Text ,label\n" + "".join(f"a {n},{'xy'[n % 2]}\n" for n in range(8)))
    settings = (
        f"data.train={path}", "data.label_column=label", f"model.encoder={encoders['bert']}",
        "model.aggregator_layers=1", "training.epochs=1",
    )  # fmt: skip
    line = refuse("train.py", *settings, "data.text_column=Full Text", here=True)
    assert "did you mean 'Full Text '?" in line
    home = {"HOME": str(tmp_path)}
    run_dir = ("data.text_column=Full Text ", "run_dir=~/run")
    succeed("train.py", *settings, *run_dir, here=True, **home)
    assert (tmp_path / "run/results.json").is_file()


def test_a_list_given_in_pieces_is_refused_with_its_form(tmp_path) -> None:
    a, b = (write_jsonl(tmp_path / f"{n}.jsonl", [{"text": n, "label": n}] * 2) for n in "ab")
    line = refuse("train.py", f"data.train={a}", f"data.train={b}", here=True)
    assert "data.train is given twice" in line and "data.train='[" in line
    line = refuse("train.py", f"data.train={a},{b}", "data.label_column=label", here=True)
    assert f"data.train='[{a}, {b}]'" in line
    line = refuse("infer.py", "--model", "m", "--input", f"{a},{b}", "--output", "-", here=True)
    assert f"--input {a} {b}" in line
    line = refuse("train.py", f"data.train=[{a}]", f"data.train={b}", here=True)
    assert "data.train is given twice" in line
    for other in (a, b):
        line = refuse("infer.py", "--input", a, "--model", "m", "--input", other, here=True)
        assert "--input is given twice; several are written --input ONE OTHER" in line


def test_of_a_setting_given_twice_the_last_counts_and_that_is_said(tmp_path) -> None:
    def told(*arguments: str) -> list[str]:
        printed = run(*arguments, here=True).stderr
        return [line for line in printed.splitlines() if "given twice" in line]

    settings = ["data.train=a", "training.epochs=2", "data.columns.q=a", "training={epochs: 2}"]
    done = succeed("train.py", *settings, "seed=1", "--seed=1", "--print-config", here=True)
    assert "given twice" not in done.stderr
    more = ["training.epochs=3", "data.columns.q=b", "data.columns.r=a", "--print-config"]
    done = succeed("train.py", *settings, *more, here=True)
    assert "  epochs: 3\n" in done.stdout and "{q: b, r: a}" in done.stdout
    lines = [line for line in done.stderr.splitlines() if "given twice" in line]
    assert lines == [
        "warning: command line: training.epochs is given twice, '2' and '3'; the last one counts",
        "warning: command line: data.columns.q is given twice, 'a' and 'b'; the last one counts",
    ]
    given = ["infer.py", "--model", "m", "--input", "no", "--output", "-", "--max-words", "9"]
    assert told(*given, "--max-words=9", "--keep-columns", "a", "--keep-columns", "b") == []
    assert told(*given, "--max-words", "8") == [
        "warning: command line: --max-words is given twice, 9 and 8; the last one counts"
    ]


def test_answers_may_be_packed(infer, tmp_path) -> None:
    docs = write_jsonl(
        tmp_path / "docs.jsonl", [{"id": str(n), "text": "The cat."} for n in range(5)]
    )
    task = ("--input", docs, "--task", "classify")
    infer(*task)
    plain = (tmp_path / "out.jsonl").read_bytes()
    infer(*task, output="out.jsonl.gz")
    packed = (tmp_path / "out.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == plain
    infer(*task, output="again.jsonl.gz")
    assert (tmp_path / "again.jsonl.gz").read_bytes() == packed
    infer(*task, output="out.csv.gz")
    with gzip.open(tmp_path / "out.csv.gz", "rt", encoding="utf-8", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == list("01234")
    shards = ("--rows-per-shard", "2", "--output-format", "jsonl.gz")
    infer(*task, *shards, output="shards")
    names = sorted(path.name for path in (tmp_path / "shards").glob("part-*"))
    assert names == [f"part-0000{n}.jsonl.gz" for n in range(3)]
    rows = b"".join(gzip.decompress((tmp_path / "shards" / name).read_bytes()) for name in names)
    assert rows == plain
    assert "complete" in infer(*task, *shards, "--resume", output="shards").stderr
    # What was packed can be read as a corpus.
    assert [json.loads(line)["id"] for line in plain.splitlines()] == list("01234")
    refused = run("infer.py", "--model", "m", *task, "--output", "-", "--output-format", "csv.gz",
                  here=True)  # fmt: skip
    assert refused.returncode == 2 and "needs a file" in refused.stderr
