"""The inference command as its users see it: flags, inputs, rows, formats, mistakes, exit codes."""

import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import ROOT, flags, read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows

ROWS = make_rows(9, seed=4)
ROWS[3]["text"] = ""
ROWS[4]["text"] = '这部电影很好。😀 Half \ud83d a pair, a "quote", a comma.\r\nThe\x00 end.'
CLEAN = [{**row, "text": str(row["text"]).replace("\ud83d", "\ufffd")} for row in ROWS]
ALL = ["id", "label", "probabilities", "summary", "sentences"]

FLAGS: dict[str, Any] = {
    "--model": None, "--input": None, "--output": None, "--rows-per-shard": None,
    "--on-error": "stop", "--task": None, "--max-words": None, "--max-sentences": None,
    "--max-tokens": None, "--max-characters": None, "--ratio": None, "--order": None,
    "--redundancy": None, "--segment-vectors": False, "--text-column": "text", "--id-column": None,
    "--keep-columns": [], "--delimiter": None, "--min-words-per-sentence": None,
    "--encoding": "utf-8", "--input-format": "jsonl", "--output-format": None,
    "--csv-safe": False, "--sentence-kinds": None,
    "--batch-tokens": None, "--tokens-per-forward": None, "--device": "auto", "--dtype": "float32",
    "--compile": None, "--no-compile": None, "--cache-dir": None, "--cache-dtype": None,
    "--cache-limit-gib": None, "--check": True, "--no-check": True, "--engine": "local",
    "--actors": None, "--cpus-per-actor": None, "--gpus-per-actor": None, "--ray-address": None,
    "--resume": False, "--overwrite": False,
}  # fmt: skip
CHOICES = {
    "--on-error": {"stop", "skip"},
    "--order": {"document", "score"},
    "--input-format": {"jsonl", "csv", "tsv", "json"},
    "--output-format": {"jsonl", "csv", "parquet", "jsonl.gz", "csv.gz"},
    "--dtype": {"float32", "bfloat16", "float16", "int8", "auto"},
    "--cache-dtype": {"float32", "float16"},
    "--engine": {"local", "ray"},
}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return write_jsonl(folder / "docs.jsonl", ROWS)


@pytest.fixture
def model(models: dict[str, Path]) -> Path:
    return models["both"]


def job(model: Path, source: Any, output: Path | str, *more: str | Path) -> list[Any]:
    sources = source if isinstance(source, list) else [source]
    return ["infer.py", "--model", model, "--output", output, *more, "--input", *sources]


def infer(*arguments: Any, **options: Any) -> CompletedProcess[str]:
    return run(*job(*arguments), here=True, **options)


def refused(*arguments: Any, **options: Any) -> str:
    return refuse(*job(*arguments), here=True, **options)


def answer(*arguments: Any) -> list[Any]:
    """Rows of a job that must answer every row and leave nothing but its output."""
    output = arguments[2]
    before = set(output.parent.iterdir())
    succeed(*job(*arguments), here=True)
    assert set(output.parent.iterdir()) - before <= {output}
    return read_jsonl(output) if output.suffix == ".jsonl" else []


def as_table(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_flags_and_their_defaults() -> None:
    found = flags("infer.py")
    assert FLAGS.keys() <= found.keys()
    assert {flag: found[flag].default for flag in FLAGS} == FLAGS
    assert {flag for flag in FLAGS if found[flag].required} == {"--model", "--input", "--output"}
    for flag, choices in CHOICES.items():
        assert choices <= set(found[flag].choices), flag
    shown = succeed("infer.py", "--help", here=True)
    assert all(flag in shown.stdout for flag in FLAGS) and shown.stderr == ""
    assert succeed("hierbert-infer", "--help", here=True).stdout == shown.stdout


def test_the_kind_of_each_sentence_is_in_the_row_when_asked_for(model, tmp_path) -> None:
    text = "The Old Town\n\nThe cat is red and go-\nod. A dog is bad.\n\n- milk\n- two eggs\n"
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"text": text}])
    flags = ("--task", "summarize", "--max-sentences", "3")
    (plain,) = answer(model, docs, tmp_path / "a.jsonl", *flags)
    (row,) = answer(model, docs, tmp_path / "b.jsonl", *flags, "--sentence-kinds")
    assert plain["summary"] == row["summary"] == "The cat is red and good.\nA dog is bad."
    # The summary says the words, and a sentence is the text's own characters.
    assert row["sentences"][0]["text"] == "The cat is red and go-\nod."
    assert "sentence_kinds" not in plain and "kind" not in plain["sentences"][0]
    assert [sentence["kind"] for sentence in row["sentences"]] == ["prose", "prose"]
    told = [(text[s["start"] : s["end"]], s["kind"]) for s in row["sentence_kinds"]]
    assert told == [
        ("The Old Town", "heading"), ("The cat is red and go-\nod.", "prose"),
        ("A dog is bad.", "prose"), ("- milk", "list"), ("- two eggs", "list"),
    ]  # fmt: skip


def test_rows_hold_their_keys_in_order_and_point_into_the_text(model, docs) -> None:
    done = infer(model, docs, "-")
    assert done.returncode == 0 and re.search(r"\b9\b", done.stderr.splitlines()[-1])
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == [row["id"] for row in ROWS]
    for row, given in zip(rows, ROWS, strict=True):
        assert list(row) == ALL
        assert list(row["probabilities"]) == ["art", "law", "a.b"]
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert all(list(s) == ["text", "start", "end", "score"] for s in row["sentences"])
        texts = [given["text"][s["start"] : s["end"]] for s in row["sentences"]]
        assert texts == [sentence["text"] for sentence in row["sentences"]]
        assert row["summary"] == "\n".join(" ".join(text.split()) for text in texts)
        assert all(0 <= sentence["score"] <= 1 for sentence in row["sentences"])
    assert rows[3]["summary"] == "" and rows[3]["sentences"] == []


def test_a_process_answers_a_pipe_in_any_locale_until_its_reader_leaves(model, tmp_path) -> None:
    rows = [{"id": "é", "text": "The film is 好。"}, *make_rows(600, sentences=3)]
    command = [sys.executable, str(ROOT / "infer.py"), "--model", str(model), "--input", "-"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    with write_jsonl(tmp_path / "many.jsonl", rows).open("rb") as stdin:
        process = subprocess.Popen(
            [*command, "--output", "-", "--batch-tokens", "300"],
            env=env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        first = [json.loads(process.stdout.readline().decode("utf-8")) for _ in range(10)]
        process.stdout.close()
        errors = process.communicate()[1].decode()
    assert [row["id"] for row in first] == [row["id"] for row in rows[:10]]
    assert first[0]["summary"] == "The film is 好。"
    assert process.returncode == 0
    assert "Error" not in errors and "Traceback" not in errors


def test_every_form_of_input_gives_the_same_answers(model, tmp_path) -> None:
    rows = [{**row, "text": row["text"].replace("\r", " ")} for row in CLEAN]
    made: dict[str, Any] = {
        "jsonl": write_jsonl(tmp_path / "a.jsonl", rows),
        "csv": as_table(tmp_path / "a.csv", rows),
        "tsv": as_table(tmp_path / "a.tsv", rows, "\t"),
        "json": tmp_path / "a.json",
        "jsonl.gz": tmp_path / "z.jsonl.gz",
        "csv.gz": tmp_path / "z.csv.gz",
        "parquet": tmp_path / "a.parquet",
        "folder": tmp_path / "texts",
        "glob": tmp_path / "part-*.jsonl",
        "list": [tmp_path / "part-1.jsonl", tmp_path / "part-2.jsonl"],
    }
    made["json"].write_text(json.dumps(rows))
    for ending in ("jsonl", "csv"):
        made[f"{ending}.gz"].write_bytes(gzip.compress(made[ending].read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows), made["parquet"])
    made["folder"].mkdir()
    for row in rows:
        (made["folder"] / f"{row['id']}.txt").write_bytes(row["text"].encode())
    write_jsonl(tmp_path / "part-1.jsonl", rows[:4])
    write_jsonl(tmp_path / "part-2.jsonl", rows[4:])
    expected = answer(model, made["jsonl"], tmp_path / "o.jsonl", "--max-words", "12")
    assert len(expected) == 9 and expected[4]["sentences"]
    for name, source in made.items():
        output = tmp_path / f"o-{name.replace('.', '-')}.jsonl"
        found = answer(model, source, output, "--max-words", "12")
        for row, wanted in zip(found, expected, strict=True):
            assert [row[k] for k in ("id", "label", "summary")] == [
                wanted[k] for k in ("id", "label", "summary")
            ], name
            assert row["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)
    for kind in ("jsonl", "csv", "tsv", "json"):
        data = made[kind].read_bytes()
        done = infer(model, "-", "-", "--input-format", kind, "--max-words", "12", stdin=data)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [r["summary"] for r in lines] == [r["summary"] for r in expected], (
            kind,
            done.stderr,
        )


@pytest.mark.parametrize(
    ("kind", "more"), [("both", ("--task", "all", "--segment-vectors")), ("summaries", ())]
)
def test_csv_and_parquet_hold_what_jsonl_holds(models, docs, tmp_path, kind, more) -> None:
    plain = answer(models[kind], docs, tmp_path / "o.jsonl", *more)
    expected = json.loads(json.dumps(plain, ensure_ascii=False).replace("\ud83d", "\ufffd"))
    # What only some rows have is a column in every format of fixed columns.
    for row in expected:
        row |= {"over_limit": None, "query_unmatched": None, "omission": row.pop("omission", None)}
    shortened = [row["omission"] for row in expected if row["omission"]]
    if shortened:
        # How much of all documents, is told in the end.
        counts = [len(shortened), sum(omission["segments"] for omission in shortened)]
        for output in ("-", tmp_path / "told.jsonl"):
            told = infer(models[kind], docs, output).stderr
            assert "max_segments: {:,} (segments left out: {:,}".format(*counts) in told
    assert bool(shortened) == (kind == "summaries")
    assert all(list(o) == ["segments", "sentences", "tokens", "characters"] for o in shortened)
    assert all(o["segments"] > 0 and o["characters"] > 0 for o in shortened)
    answer(models[kind], docs, tmp_path / "o.parquet", *more)
    table = pq.read_table(tmp_path / "o.parquet")
    assert table.to_pylist() == expected and table.column_names == list(expected[0])
    # The format that is named counts more than the ending.
    answer(models[kind], docs, tmp_path / "o.txt", *more, "--output-format", "csv")
    with (tmp_path / "o.txt").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == list(expected[0])
    for row, wanted in zip(found, expected, strict=True):
        for name, value in wanted.items():
            if isinstance(value, list | dict):
                assert json.loads(row[name]) == value
            else:
                assert row[name] == ("" if value is None else value)


def test_csv_on_standard_output_is_the_csv_of_a_file(model, docs, tmp_path) -> None:
    answer(model, docs, tmp_path / "o.csv", "--task", "classify")
    done = infer(model, docs, "-", "--task", "classify", "--output-format", "csv")
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(io.StringIO(done.stdout))) == list(csv.reader(file))


def test_a_task_decides_the_keys_of_its_rows(models, docs, tmp_path) -> None:
    vectors = ["document_vector", "segment_vectors", "segment_spans"]
    cases = [
        ("both", ("--task", "classify"), ["id", "label", "probabilities"]),
        ("both", ("--task", "summarize"), ["id", "summary", "sentences"]),
        ("both", ("--task", "embed"), ["id", "document_vector"]),
        ("both", ("--task", "embed", "--segment-vectors"), ["id", *vectors]),
        ("both", ("--task", "all"), [*ALL, "document_vector"]),
        ("summaries", (), ["id", "summary", "sentences"]),
        ("many", (), ["id", "labels", "probabilities"]),
        ("number", (), ["id", "label"]),
    ]
    for number, (kind, more, names) in enumerate(cases):
        rows = answer(models[kind], docs, tmp_path / f"{number}.jsonl", *more)
        assert all([n for n in row if n != "omission"] == names for row in rows), (kind, more)
        if "segment_spans" in names:
            for row, given in zip(rows, ROWS, strict=True):
                assert len(row["segment_vectors"]) == len(row["segment_spans"])
                assert row["segment_spans"][-1][1] <= len(given["text"])
        if kind == "many":
            for row in rows:
                reached = {name for name, share in row["probabilities"].items() if share >= 0.5}
                assert set(row["labels"]) == reached
        if kind == "number":
            assert all(isinstance(row["label"], float) for row in rows)


def test_a_summary_keeps_to_its_budget_and_its_order(model, docs, tmp_path) -> None:
    def size(name: str, sentences: list[Any]) -> int:
        texts = [s["text"] for s in sentences]
        if name == "--max-words":
            return sum(len(text.split()) for text in texts)
        return len(texts) if name == "--max-sentences" else len("\n".join(texts))

    for flag, limit in (("--max-words", 9), ("--max-sentences", 2), ("--max-characters", 50)):
        rows = answer(model, docs, tmp_path / f"o{flag}.jsonl", flag, str(limit))
        sizes = [size(flag, row["sentences"]) for row in rows if len(row["sentences"]) != 1]
        assert sizes and max(sizes) <= limit, flag
    tokens = answer(model, docs, tmp_path / "tokens.jsonl", "--max-tokens", "9")
    assert max(len(row["sentences"]) for row in tokens) <= 3
    by_score = answer(
        model, docs, tmp_path / "s.jsonl", "--max-sentences", "3", "--order", "score",
        "--redundancy", "0",
    )  # fmt: skip
    for row in by_score:
        scores = [s["score"] for s in row["sentences"]]
        assert scores == sorted(scores, reverse=True)
    whole = answer(model, docs, tmp_path / "r.jsonl", "--ratio", "1", "--redundancy", "0.5")
    for row, given in zip(whole, ROWS, strict=True):
        starts = [s["start"] for s in row["sentences"]]
        assert starts == sorted(starts)
        joined = "".join(s["text"] for s in row["sentences"])
        assert "".join(joined.split()) == "".join(given["text"].split())


def test_ids_are_kept_as_text_or_made_and_labels_are_not_read(model, tmp_path) -> None:
    rows = [{"key": 7, "body": "The cat.", "label": {"odd": 1}}, {"key": 12, "body": "A dog."}]
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    column = ("--text-column", "body")
    named = answer(model, docs, tmp_path / "a.jsonl", *column, "--id-column", "key")
    assert [row["id"] for row in named] == ["7", "12"]
    made = answer(model, docs, tmp_path / "b.jsonl", *column)
    assert [row["id"] for row in made] == ["docs-1", "docs-2"]
    latin = tmp_path / "latin.csv"
    latin.write_bytes("id,text\n1,Café.\n".encode("latin-1"))
    (row,) = answer(model, latin, tmp_path / "c.jsonl", "--encoding", "latin-1")
    assert row["summary"] == "Café."


def test_rows_that_cannot_be_read_stop_the_job_or_go_to_the_errors(model, tmp_path) -> None:
    lines = [json.dumps(row) for row in ROWS]
    lines[2], lines[5], lines[8] = "{", '{"id": "x", "text": 5}', json.dumps(ROWS[0])
    docs, output = tmp_path / "docs.jsonl", tmp_path / "o.jsonl"
    docs.write_text("\n".join(lines) + "\n")
    error = refused(model, docs, output)
    assert f"{docs}, line 3" in error and os.listdir(tmp_path) == ["docs.jsonl"]
    done = infer(model, docs, output, "--on-error", "skip")
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1].replace(str(tmp_path), "")
    assert all(re.search(rf"\b{word}\b", last) for word in ("6", "3", "o.jsonl", "o.errors.jsonl"))
    good = [row["id"] for number, row in enumerate(ROWS) if number not in (2, 5, 8)]
    assert [row["id"] for row in read_jsonl(output)] == good
    errors = read_jsonl(tmp_path / "o.errors.jsonl")
    assert all(list(row) == ["row", "location", "id", "reason"] for row in errors)
    assert [(row["row"], row["id"]) for row in errors] == [(3, None), (6, "x"), (9, ROWS[0]["id"])]
    assert [row["location"] for row in errors] == [f"{docs}, line {n}" for n in (3, 6, 9)]
    assert "text" in errors[1]["reason"] and "5" in errors[1]["reason"]
    # Errors of one job are not written over by another, and do not outlive an overwritten one.
    output.unlink()
    assert "o.errors.jsonl" in refused(model, docs, output, "--on-error", "skip")
    write_jsonl(docs, ROWS)
    assert infer(model, docs, output, "--overwrite").returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["docs.jsonl", "o.jsonl"]


def test_on_standard_output_errors_are_told_on_standard_error(model) -> None:
    data = b'{"text": "A cat."}\n{"text": null}\n{"text": "A dog."}\n'
    done = infer(model, "-", "-", "--on-error", "skip", stdin=data)
    assert done.returncode == 3
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["stdin-1", "stdin-3"]
    assert "line 2" in done.stderr and re.search(r"\b1\b", done.stderr.splitlines()[-1])
    # Without it, those before the row are answered.
    done = infer(model, "-", "-", stdin=data)
    assert done.returncode == 2 and json.loads(done.stdout)["id"] == "stdin-1"
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: standard input, line 2") and "text" in error


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", b'{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}\n', ["'1'", "line 2"]),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', ["a.jsonl", "line 2", "JSON"]),
        ("a.jsonl", b'{"text": "a"}\n{"text": null}\n', ["a.jsonl", "line 2", "text"]),
        ("a.jsonl", b'{"text": "\xe9"}\n', ["utf-8", "line 1", "--encoding"]),
        ("a.csv", b"text\nab\nc,d\n", ["a.csv", "row 2", "2 fields"]),
        ("a.csv", b"id,body\n1,ab\n", ["a.csv", "'text'", "--text-column", "body"]),
        ("a.jsonl", b"", ["a.jsonl", "no rows"]),
        ("a.jsonl.gz", b"not gzip", ["a.jsonl.gz", "gzip"]),
        ("a.parquet", b"PAR1", ["a.parquet", "parquet"]),
        ("a.pdf", b"%PDF", ["a.pdf", "jsonl", "parquet"]),
    ],
)
def test_a_broken_input_is_one_line_and_leaves_nothing(model, tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    error = refused(model, tmp_path / name, tmp_path / "o.csv")
    assert all(word in error for word in told), error
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--max-words 0", ["--max-words", "0", "at least 1"]),
        ("--max-words x", ["--max-words", "'x'"]),
        ("--max-words 5 --ratio 0.1", ["--max-words", "--ratio"]),
        ("--ratio 1.5", ["ratio", "1.5"]),
        ("--redundancy 2", ["redundancy", "2", "0 to 1"]),
        ("--batch-tokens 0", ["--batch-tokens", "0"]),
        ("--tokens-per-forward -1", ["--tokens-per-forward", "-1", "auto"]),
        ("--rows-per-shard 0", ["--rows-per-shard", "0", "at least 1"]),
        ("--task translate", ["--task", "translate", "classify", "summarize", "embed"]),
        ("--device cuda:7", ["device", "cuda:7"]),
        ("--encoding klingon", ["--encoding", "klingon"]),
        ("--segment-vectors", ["--segment-vectors", "embed"]),
        ("--task classify --max-words 5", ["--max-words", "summarize"]),
        ("--encoding unicode_escape", ["--encoding", "unicode_escape", "cp1252"]),
        ("--encoding rot13", ["--encoding", "rot13"]),
        ("--csv-safe", ["--csv-safe", "csv", "jsonl"]),
        ("--output-format xml", ["--output-format", "xml", "parquet"]),
        ("--max-word 5", ["--max-word"]),
        ("--actors 2", ["--actors", "--engine ray"]),
        ("--engine ray --actors 0", ["--actors", "'0'", "at least 1"]),
        ("--engine ray --cpus-per-actor -1", ["--cpus-per-actor", "'-1'", "0 or more"]),
        ("--engine ray --gpus-per-actor nan", ["--gpus-per-actor", "'nan'", "0 or more"]),
        ("--engine ray --no-check", ["--no-check", "--engine ray"]),
        ("--engine ray --dtype auto", ["--dtype auto", "--engine ray"]),
        ("--cache-dtype float16", ["--cache-dtype", "--cache-dir"]),
        ("--resume --overwrite", ["--resume", "--overwrite"]),
    ],
)
def test_flags_that_make_no_sense_are_one_line(model, docs, tmp_path, flags, told) -> None:
    error = refused(model, docs, tmp_path / "o.jsonl", *flags.split())
    assert all(word in error for word in told), error
    assert os.listdir(tmp_path) == ["in"]


def test_inputs_outputs_and_models_that_cannot_be(models, docs, tmp_path) -> None:
    both = models["both"]
    (tmp_path / "folder.csv").mkdir()
    before = sorted(os.listdir(tmp_path))
    output = tmp_path / "o.jsonl"
    cases: list[tuple[tuple[Any, ...], list[str]]] = [
        ((both, docs.with_name("doc.jsonl"), output), ["doc.jsonl", "docs.jsonl"]),
        ((both, tmp_path / "*.tsv", output), ["*.tsv"]),
        ((both, docs, tmp_path / "o.txt"), ["--output", "txt", "jsonl", "csv", "parquet"]),
        ((both, docs, tmp_path / "no" / "o.jsonl"), ["--output", str(tmp_path / "no")]),
        ((both, docs, tmp_path / "folder.csv", "--overwrite"), ["--output", "folder.csv"]),
        ((both, docs, docs, "--overwrite"), ["--output", "docs.jsonl", "input"]),
        ((both, docs, "-", "--output-format", "parquet"), ["--output", "parquet"]),
        ((both, docs, "-", "--engine", "ray"), ["--output -", "--engine ray"]),
        ((both, "-", output, "--engine", "ray"), ["--input -", "--engine ray"]),
        ((both, docs, "-", "--resume"), ["--resume", "--output"]),
        ((both, docs, "/dev/null", "--output-format", "csv", "--overwrite"), ["no regular file"]),
        ((both, docs, "/proc/self/o.jsonl"), ["/proc/self/o.jsonl cannot be written"]),
        ((both, docs, "~nobody-at-all/o.jsonl"), ["no folder ~nobody-at-all"]),
        ((tmp_path / "nowhere", docs, output), [str(tmp_path / "nowhere")]),
        ((tmp_path, docs, output), [str(tmp_path), "config.json"]),
        ((models["summaries"], docs, output, "--task", "classify"), ["classify", "summarize"]),
    ]
    for arguments, told in cases:
        error = refused(*arguments)
        assert all(word in error for word in told), (arguments, error)
    missing = refuse("infer.py", "--model", both, "--input", docs, here=True)
    assert "--output" in missing
    assert "torchrun" in refused(both, docs, output, "--engine", "ray", WORLD_SIZE="2")
    for source, to in ((docs, "-"), ("-", output)):
        assert "for one process" in refused(both, source, to, WORLD_SIZE="2")
    assert sorted(os.listdir(tmp_path)) == before and docs.exists()


def test_an_output_that_exists_is_replaced_only_when_asked(model, docs, tmp_path) -> None:
    output = tmp_path / "o.jsonl"
    output.write_text("precious")
    error = refused(model, docs, output)
    assert str(output) in error and "--overwrite" in error
    # By whatever job: a file keeps no record of it.
    assert "complete" in succeed(*job(model, docs, output, "--resume"), here=True).stderr
    assert output.read_text() == "precious"
    assert len(answer(model, docs, output, "--overwrite")) == 9
    # Beside the files of an input folder it is none of them.
    assert len(answer(model, docs.parent, docs.with_name("o.jsonl"))) == 9
