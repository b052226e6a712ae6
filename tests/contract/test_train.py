"""The training command: corpora, tasks, encoders, mistakes in documents, exit codes, processes."""

import csv
import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from commands import ROOT, read_jsonl, refuse, succeed, write_jsonl
from conftest import make_rows
from safetensors.torch import load_file
from small_runs import Settings, bits_of, results_of, small_run


@pytest.fixture
def settings(encoders: dict[str, Path], tmp_path: Path) -> Settings:
    """Arguments of a small run on files of documents; to the folder `run`."""
    return small_run(tmp_path, encoders["bert"])


def as_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        dialect = "excel-tab" if path.suffix == ".tsv" else "excel"
        writer = csv.DictWriter(file, list(rows[0]), dialect=dialect)
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    datasets.Dataset.from_list(rows).to_parquet(path)
    return path


def as_json(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def as_gz(path: Path, rows: list[dict[str, Any]]) -> Path:
    plain = (as_csv if ".csv" in path.name else write_jsonl)(path.with_suffix(""), rows)
    with gzip.open(path, "wb") as file:
        file.write(plain.read_bytes())
    plain.unlink()
    return path


def as_folder(path: Path, rows: list[dict[str, Any]]) -> Path:
    for row in rows:
        (path / row["label"]).mkdir(parents=True, exist_ok=True)
        (path / row["label"] / f"{row['id']}.txt").write_text(row["text"], encoding="utf-8")
    return path


def as_parts(path: Path, rows: list[dict[str, Any]]) -> str:
    path.mkdir()
    write_jsonl(path / "part-0.jsonl", rows[:3])
    as_gz(path / "part-1.jsonl.gz", rows[3:])
    return str(path / "part-*")


def as_list(path: Path, rows: list[dict[str, Any]]) -> str:
    path.mkdir()
    return f"[{write_jsonl(path / 'b.jsonl', rows[:5])}, {as_csv(path / 'a.csv', rows[5:])}]"


WRITERS: dict[str, Callable[[Path, Any], Path | str]] = {
    "c.csv": as_csv,
    "t.tsv": as_csv,
    "c.csv.gz": as_gz,
    "j.json": as_json,
    "j.jsonl.gz": as_gz,
    "p.parquet": as_parquet,
    "folder": as_folder,
    "parts": as_parts,
    "list": as_list,
}


@pytest.fixture(scope="module")
def of_jsonl(
    encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, Any]], dict[str, bytes]]:
    """A corpus of jsonl in the order in which a folder of labels is read, and its model's bits."""
    folder = tmp_path_factory.mktemp("jsonl")
    settings = small_run(folder, encoders["bert"])
    rows = sorted(make_rows(8, seed=1), key=lambda row: (row["label"], row["id"]))
    write_jsonl(folder / "train.jsonl", rows)
    succeed("train.py", *settings(), here=True)
    return folder, rows, bits_of(folder / "run")


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_trains_to_the_same_model(of_jsonl, encoders, tmp_path, name) -> None:
    _, rows, expected = of_jsonl
    settings = small_run(tmp_path, encoders["bert"])
    source = WRITERS[name](tmp_path / name, rows)
    succeed("train.py", *settings(f"data.train={source}"), here=True)
    assert bits_of(tmp_path / "run") == expected


def test_a_part_of_the_training_documents_validates_where_no_others_are_named(
    settings, tmp_path
) -> None:
    rows = make_rows(20, seed=1)
    columns = [{"body": row["text"], "topic": row["label"]} for row in rows]
    source = as_csv(tmp_path / "my.csv", columns)
    more = ["data.text_column=body", "data.label_column=topic", "data.test=", "data.validation="]
    done = succeed(
        "train.py",
        *["--config", str(ROOT / "configs/classification.yaml")],
        *settings(f"data.train={source}", *more, "data.validation_fraction=0.2"),
        here=True,
    )
    results = results_of(tmp_path / "run")
    lengths = results["lengths"]
    assert results["split"] == "validation"
    assert (lengths["train"]["documents"], lengths["validation"]["documents"]) == (16, 4)
    # By label.
    assert results["label_counts"] == {"film": 8, "law": 8}
    assert "infer.py --model" in done.stdout


def test_an_id_a_label_and_a_text_may_hold_any_characters(settings, tmp_path) -> None:
    labels = ["a\0😀", "b\ud83d"]
    texts = ["😀 \0 zwölf.", "你好世界。再见。", "مرحبا بالعالم.", "half \ud83d of a pair. Two."]
    rows = [
        {
            "id": f"{n}\0😀\ud83d",
            "text": text,
            "label": ["a\0😀", "b\ud83d"][n % 2],
            "summary": text,
        }
        for n, text in enumerate(texts * 2)
    ]
    source = write_jsonl(tmp_path / "any.jsonl", rows)
    more = [f"data.{name}={source}" for name in ("train", "validation", "test")]
    more += ["data.summary_column=summary", "show_sample=true"]
    succeed("train.py", *settings(*more), here=True)
    table = results_of(tmp_path / "run")["per_label"]["labels"]
    assert [row["label"] for row in table] == labels


def test_labels_of_csv_and_jsonl_are_the_same(settings, tmp_path) -> None:
    rows = [{"text": row["text"], "label": n % 2 == 0} for n, row in enumerate(make_rows(8))]
    validation = write_jsonl(tmp_path / "v.jsonl", rows)
    source = as_csv(tmp_path / "t.csv", [{**r, "label": str(r["label"]).lower()} for r in rows])
    more = [f"data.train={source}", f"data.validation={validation}", "data.test="]
    succeed("train.py", *settings(*more), here=True)
    config = json.loads((tmp_path / "run/model/config.json").read_text())
    assert config["id2label"] == {"0": "false", "1": "true"}


def test_a_document_may_lack_a_label_or_a_summary(settings, tmp_path) -> None:
    for name in ("train", "validation", "test"):
        rows = read_jsonl(tmp_path / f"{name}.jsonl")
        for number, row in enumerate(rows):
            row["label"] = None if number % 3 == 1 else row["label"]
            row["summary"] = "" if number % 4 == 0 else row["summary"]
        rows[-1]["text"] = ""
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    succeed("train.py", *settings("data.summary_column=summary"), here=True)
    assert {"accuracy", "rouge1", "loss"} <= results_of(tmp_path / "run")["scores"].keys()


def test_texts_that_are_cut_already(settings, tmp_path) -> None:
    for name in ("train", "validation", "test"):
        rows = read_jsonl(tmp_path / f"{name}.jsonl")
        cut = [{**row, "text": row["text"].split(". ")} for row in rows]
        write_jsonl(tmp_path / f"{name}.jsonl", cut)
    for unit in ("sentences", "segments"):
        more = [f"segmentation.list_unit={unit}", f"run_dir={tmp_path / unit}", "training.epochs=1"]
        succeed("train.py", *settings(*more), here=True)
    assert bits_of(tmp_path / "sentences") != bits_of(tmp_path / "segments")


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "mpnet", "modernbert"])
def test_other_encoders_train_and_answer(encoders, tmp_path, kind) -> None:
    settings = small_run(tmp_path, encoders[kind])
    succeed("train.py", *settings("data.summary_column=summary"), here=True)
    asked = ["--model", tmp_path / "run/model", "--input", tmp_path / "test.jsonl"]
    succeed("infer.py", *asked, "--output", tmp_path / "answers.jsonl", here=True)
    for row in read_jsonl(tmp_path / "answers.jsonl"):
        assert row["label"] in ("film", "law") and row["sentences"]


@pytest.mark.parametrize("pooling", ["cls", "max", "attention"])
def test_every_pooling_and_a_part_of_the_encoder(settings, encoders, tmp_path, pooling) -> None:
    more = [f"model.pooling={pooling}", "training.trained_encoder_layers=1", "training.epochs=1"]
    succeed("train.py", *settings(*more), here=True)
    before = load_file(encoders["bert"] / "model.safetensors")
    after = load_file(tmp_path / "run/model/model.safetensors")
    moved = {
        key: not next(v for name, v in after.items() if name.endswith(key)).equal(value)
        for key, value in before.items()
        if "pooler" not in key and any(name.endswith(key) for name in after)
    }
    assert any(moved[key] for key in moved if ".layer.1." in key)
    assert not any(moved[key] for key in moved if ".layer.0." in key or "embeddings" in key)


def rows_but(**changes: Any) -> list[dict[str, Any]]:
    """Rows of which the last one is changed."""
    rows = make_rows(4, seed=1)
    return [*rows[:-1], {**rows[-1], **changes}]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize(
    ("content", "more", "parts"),
    [
        (lines(rows_but()), ["data.text_column=body"], ["body", "text", "data.text_column"]),
        (lines(rows_but()), ["data.label_column=lable"], ["lable", "label", "data.label_column"]),
        (lines(rows_but(text=None)), [], ["bad.jsonl", "line 4", "text", "null"]),
        (lines(rows_but(text=7)), [], ["bad.jsonl", "line 4", "text", "7"]),
        (lines(rows_but(id="d0")), [], ["bad.jsonl", "d0", "line 1", "line 4"]),
        (b"", [], ["bad.jsonl"]),
        (lines(rows_but())[:-9], [], ["bad.jsonl", "line 4", "JSON"]),
        (lines(rows_but())[:-9] + b"\xff\xfe\n", [], ["bad.jsonl", "utf-8", "data.encoding"]),
        (
            lines(rows_but(label="many")),
            ["data.label_type=regression"],
            ["bad.jsonl", "line 1", "label", "law"],
        ),
        (
            lines([{**r, "summary": None} for r in make_rows(4)]),
            ["data.summary_column=summary"],
            ["summary", "bad.jsonl"],
        ),
        (lines(make_rows(2)), ["data.validation="], ["validation"]),
    ],
)
def test_a_mistake_in_documents_is_one_line_and_leaves_nothing(
    settings, tmp_path, content, more, parts
) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)
    error = refuse("train.py", *settings(f"data.train={tmp_path / 'bad.jsonl'}", *more), here=True)
    assert all(part in error for part in parts), error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("split", "label", "parts"),
    [
        ("test", "flim", ["other.jsonl", "line 1", "flim", "film"]),
        ("validation", None, ["validation", "label"]),
    ],
)
def test_a_mistake_in_documents_to_score(settings, tmp_path, split, label, parts) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", [{"id": "v", "text": "A.", "label": label}])
    error = refuse("train.py", *settings(f"data.{split}={other}"), here=True)
    assert all(part in error for part in parts), error
    assert not (tmp_path / "run").exists()


def test_sources_that_are_not_there_or_of_no_known_kind(settings, tmp_path) -> None:
    (tmp_path / "a.docx").write_text("x")
    for name in ("nowhere.jsonl", "nothing-*.csv", "a.docx"):
        error = refuse("train.py", *settings(f"data.train={tmp_path / name}"), here=True)
        assert str(tmp_path / name) in error and "data.train" in error
    assert not (tmp_path / "run").exists()


class Trap:
    """Leaves a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    torch.save(Trap(folder / "unpickled"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def of_a_translator(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "t5", "num_layers": 1, "d_model": 8}')


def with_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"import os\nos.mkdir({str(folder / 'unpickled')!r})\n")


@pytest.mark.parametrize(
    "damage", [without_weights, pickled, cut, without_tokenizer, of_a_translator, with_code]
)
def test_an_encoder_that_is_not_whole_or_not_safe_is_refused(
    settings, encoders, tmp_path, damage
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoders["bert"], folder)
    damage(folder)
    assert str(folder) in refuse("train.py", *settings(f"model.encoder={folder}"), here=True)
    # Nothing is unpickled and no code is run.
    assert not (folder / "unpickled").exists() and not (tmp_path / "run").exists()


def test_the_installed_command_is_the_same(settings, tmp_path) -> None:
    ours = succeed("train.py", *settings("--print-config"), here=True)
    assert succeed("hierbert-train", *settings("--print-config"), here=True).stdout == ours.stdout
    more = ["training.epochs=1", f"run_dir={tmp_path / 'installed'}"]
    succeed("hierbert-train", *settings(*more), here=True)
    assert (tmp_path / "installed/results.json").is_file()
    assert "training.epoch" in refuse("hierbert-train", *settings("training.epoch=1"), here=True)


def test_as_a_process_of_its_own(settings, tmp_path, of_jsonl) -> None:
    shutil.copy(of_jsonl[0] / "train.jsonl", tmp_path)
    # A terminal that lacks characters is no reason to fail.
    more = ["show_sample=true", f"data.test={tmp_path / 'test.jsonl'}"]
    rows = [{**row, "id": f"grün-{row['id']}"} for row in read_jsonl(tmp_path / "test.jsonl")]
    write_jsonl(tmp_path / "test.jsonl", rows)
    done = succeed("train.py", *settings(*more), PYTHONIOENCODING="ascii")
    assert "gr\\xfcn-d0" in done.stdout
    assert bits_of(tmp_path / "run") == of_jsonl[2]
    # Plain lines, none of the bars and reports of the libraries.
    for noise in ("\r", "\x1b", "it/s", "Warning", "Loading weights", "model shards"):
        assert noise not in done.stderr + done.stdout, noise
