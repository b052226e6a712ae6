"""The training command as a user meets it: inputs, messages, exit codes, what is left behind."""

import csv
import gzip
import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from accelerate.state import AcceleratorState
from commands import ROOT, read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows
from safetensors.torch import load_file

from hierbert import HierBertPredictor
from hierbert.training import loop, run_folder
from hierbert.training.cli import main
from hierbert.training.loop import Trainer
from hierbert.vectors.fill import VectorCache

SMALL = [
    "model.aggregator_layers=1",
    "segmentation.max_tokens_per_segment=32",
    "training.documents_per_batch=4",
    "training.epochs=1",
    "baselines=false",
]


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a small run on a file of documents; it goes to the folder `run`."""
    write_jsonl(tmp_path / "train.jsonl", make_rows(8, seed=1))

    def build(*more: str, train: Path | None = None, summary: bool = False) -> list[str]:
        found = [f"data.train={train or tmp_path / 'train.jsonl'}", f"run_dir={tmp_path / 'run'}"]
        found += [f"model.encoder={encoders['bert']}", "data.label_column=label", *SMALL]
        return [*found, *(["data.summary_column=summary"] if summary else []), *more]

    return build


def error_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """The one line with which the command refuses in process."""
    capsys.readouterr()
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(run_dir / "model" / "model.safetensors")


def as_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    datasets.Dataset.from_list(rows).to_parquet(path)
    return path


def as_jsonl_gz(path: Path, rows: list[dict[str, Any]]) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def as_folder(path: Path, rows: list[dict[str, Any]]) -> Path:
    for row in rows:
        (path / row["label"]).mkdir(parents=True, exist_ok=True)
        (path / row["label"] / f"{row['id']}.txt").write_text(row["text"], encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [("c.csv", as_csv), ("p.parquet", as_parquet), ("j.jsonl.gz", as_jsonl_gz), ("f", as_folder)],
)
def test_every_format_trains_to_the_same_model(arguments, tmp_path, name, write) -> None:
    rows = sorted(make_rows(8, seed=1), key=lambda row: (row["label"], row["id"]))
    validation = f"data.validation={tmp_path / 'train.jsonl'}"
    write_jsonl(tmp_path / "ordered.jsonl", rows)
    assert main(arguments(validation, train=tmp_path / "ordered.jsonl")) == 0
    other = arguments(validation, f"run_dir={tmp_path / name}-run")
    other[0] = f"data.train={write(tmp_path / name, rows)}"
    assert main(other) == 0
    expected, found = weights(tmp_path / "run"), weights(tmp_path / f"{name}-run")
    assert all(found[key].equal(value) for key, value in expected.items())


def test_a_csv_of_ones_own_end_to_end(encoders, tmp_path) -> None:
    rows = [
        {"id": f"grün-{number}", "body": row["text"], "topic": number % 2}
        for number, row in enumerate(make_rows(10))
    ]
    done = succeed(
        "train.py",
        "--config",
        ROOT / "configs/classification.yaml",
        f"data.train={as_csv(tmp_path / 'my.csv', rows)}",
        "data.text_column=body",
        "data.label_column=topic",
        f"model.encoder={encoders['bert']}",
        f"run_dir={tmp_path / 'run'}",
        "training.epochs=1",
        # Read once at the end, like any file of the same columns.
        f"data.test={tmp_path / 'my.csv'}",
        PYTHONIOENCODING="ascii",
    )
    # A terminal that lacks characters is no reason to fail.
    assert "One test document: gr\\xfcn-0" in done.stdout
    assert "Labels of the 10 test documents" in done.stdout
    assert f"python infer.py --model {tmp_path / 'run' / 'model'}" in done.stdout
    # Plain lines, none of the bars and reports of the libraries.
    for noise in (
        "\r",
        "\x1b",
        "it/s",
        "Loading weights",
        "model shards",
        "LOAD REPORT",
        "Warning",
    ):
        assert noise not in done.stderr + done.stdout, noise
    assert "training: " in done.stderr and "done in" in done.stderr
    predictor = HierBertPredictor.from_pretrained(str(tmp_path / "run/model"), device="cpu")
    (prediction,) = predictor.classify(["The cat."])
    assert prediction.label in ("0", "1")


def test_summaries_alone(arguments, tmp_path, capsys) -> None:
    assert main(arguments("data.label_column=null", summary=True)) == 0
    assert "Labels of" not in capsys.readouterr().out
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert "rouge1" in results["scores"] and "accuracy" not in results["scores"]
    # Where the test documents are missing, both are the scores of the validation documents.
    assert results["scores"] == results["validation"]


def test_the_losses_of_the_results_are_weighted_as_in_training(arguments, tmp_path) -> None:
    extra = ["training.classification_loss_weight=0.25", "training.summarization_loss_weight=3"]
    test = f"data.test={tmp_path / 'train.jsonl'}"
    assert main(arguments(*extra, test, summary=True)) == 0
    results = json.loads((tmp_path / "run/results.json").read_text())
    for name in ("scores", "validation"):
        scores = results[name]
        expected = 0.25 * scores["classification_loss"] + 3 * scores["summarization_loss"]
        assert scores["loss"] == pytest.approx(expected)


def test_print_config_prints_and_does_nothing(arguments, tmp_path, capsys) -> None:
    assert main([*arguments(), "--print-config"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "printed.yaml").write_text(printed)
    assert "  epochs: 1" in printed and "Passes over the training documents" in printed
    assert not (tmp_path / "run").exists()
    assert main(["--config", str(tmp_path / "printed.yaml"), "--print-config"]) == 0
    assert capsys.readouterr().out == printed


def test_the_resolved_config_is_usable_as_it_is(arguments, tmp_path) -> None:
    assert main(arguments(summary=True)) == 0
    resolved = tmp_path / "run" / "config.resolved.yaml"
    assert main(["--config", str(resolved), f"run_dir={tmp_path / 'other'}"]) == 0
    first, second = weights(tmp_path / "run"), weights(tmp_path / "other")
    assert all(first[name].equal(second[name]) for name in first)


# Interrupts a run at a step, by the signal that a terminal or a batch system would send.
INTERRUPT = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from hierbert.training.cli import main
from hierbert.training.loop import Trainer
step = Trainer._step

def stop(self, plan):
    if self.state.step == 3:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    step(self, plan)

Trainer._step = stop
raise SystemExit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), pytest.param("SIGKILL", -9, marks=pytest.mark.slow)]
)
def test_a_stopped_run_says_how_to_go_on_and_resumes_to_the_same_bits(
    arguments, tmp_path, name, code
) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPT)
    common = arguments("training.epochs=3", "training.checkpoint_every_steps=1")
    done = run(script, name, *common)
    assert done.returncode == code, done.stderr
    resume = ["--config", str(tmp_path / "run" / "config.resolved.yaml"), "--resume"]
    if name == "SIGINT":
        assert f"go on with: train.py {' '.join(resume)}" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "model").exists()
    # What a killed run was writing is not left lying about, and what is not ours is.
    remains = tmp_path / "run" / "checkpoints" / ".step_00000004.123"
    remains.mkdir()
    (tmp_path / "run" / ".gitignore").write_text("*")
    assert main(resume) == 0
    assert not remains.exists() and (tmp_path / "run" / ".gitignore").exists()
    assert main([*common, f"run_dir={tmp_path / 'whole'}"]) == 0
    first, second = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert all(first[key].equal(second[key]) for key in first)
    assert read_jsonl(tmp_path / "run/metrics.jsonl") == read_jsonl(
        tmp_path / "whole/metrics.jsonl"
    )


def rows_but(**changes: Any) -> list[dict[str, Any]]:
    """Rows of which the last one is changed."""
    rows = make_rows(4, seed=1)
    rows[-1] = {**rows[-1], **changes}
    return rows


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize(
    ("content", "more", "parts"),
    [
        (lines(rows_but()), ["data.text_column=body"], ["'body'", "'text'", "data.text_column"]),
        (lines(rows_but()), ["data.label_column=lable"], ["'lable'", "did you mean 'label'"]),
        (lines(rows_but(label=3)), [], ["bad.jsonl, line 4", "3 (a number)", "one type"]),
        (b"", [], ["bad.jsonl", "holds no rows"]),
        (lines(rows_but())[:-9], [], ["bad.jsonl, line 4", "JSON"]),
        (lines(rows_but())[:-9] + b"\xff\xfe\n", [], ["bad.jsonl", "utf-8", "data.encoding"]),
        (lines(rows_but(id="d0")), [], ["'d0' occurs twice", "line 1", "line 4"]),
        (lines([{**r, "label": "a"} for r in make_rows(4)]), [], ["1 label ('a')", "line 1"]),
        (lines([{**r, "label": None} for r in make_rows(4)]), [], ["'label'", "bad.jsonl, line 1"]),
        (
            lines([{**r, "summary": None} for r in make_rows(4)]),
            ["data.summary_column=summary"],
            ["data.train", "'summary'", "bad.jsonl, line 1"],
        ),
        (lines(rows_but(text=None)), [], ["line 4", "'text'", "null"]),
        (lines(rows_but()), ["training.epochs=many"], ["training.epochs", "many", "whole number"]),
        (lines(rows_but()), ["training.epoch=3"], ["training.epoch", "training.epochs"]),
        (lines(rows_but()), ["training.mixed_precision=fp16"], ["fp16 needs a GPU"]),
        (lines(rows_but()), ["training.trackers=[wandb]"], ["pip install wandb"]),
        (lines(rows_but()), ["model.encoder=nobody/nothing"], ["nobody/nothing", "local folder"]),
        (lines(make_rows(2)), [], ["too few documents for a validation split"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments, tmp_path, capsys, content, more, parts
) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)
    # The state of accelerate outlives a run in the same process and refuses another precision.
    AcceleratorState._reset_state()
    error = error_of(capsys, arguments(*more, train=tmp_path / "bad.jsonl"))
    for part in parts:
        assert part in error, error
    assert not (tmp_path / "run").exists()
    AcceleratorState._reset_state()


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ([{"id": "v", "text": "A.", "label": "flim"}], ["line 1", "'flim'", "did you mean 'film'"]),
        ([{"id": "v", "text": "A.", "label": None}], ["no validation document has a label"]),
    ],
)
def test_bad_validation_documents(arguments, tmp_path, capsys, rows, parts) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", rows)
    error = error_of(capsys, arguments(f"data.validation={other}"))
    assert all(part in error for part in parts), error
    assert not (tmp_path / "run").exists()


def test_a_mistake_as_a_process(arguments, tmp_path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "A.", "label": "a"}\n{"text": ')
    assert "train.jsonl, line 2" in refuse("train.py", *arguments())
    assert not (tmp_path / "run").exists()


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    torch.save(_Trap(folder / "unpickled"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


class _Trap:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def of_another_size(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def of_a_translator(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "t5", "num_layers": 1, "d_model": 8}')


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (without_weights, "no weights in a .safetensors file"),
        (pickled, "pytorch_model.bin is not read"),
        (cut, "damaged or not whole"),
        (of_another_size, "damaged or do not fit"),
        (without_tokenizer, "no vocabulary"),
        (of_a_translator, "encoder-decoder"),
    ],
)
def test_an_encoder_that_is_not_whole_is_refused(
    arguments, encoders, tmp_path, capsys, damage, part
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoders["bert"], folder)
    damage(folder)
    error = error_of(capsys, arguments(f"model.encoder={folder}"))
    assert part in error and str(folder) in error
    assert not (folder / "unpickled").exists() and not (tmp_path / "run").exists()


def test_a_run_folder_that_cannot_be_made_is_refused_first(arguments, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "train.jsonl").write_text("not even read")
    error = error_of(capsys, arguments(f"run_dir={tmp_path}/file/run"))
    assert "file/run cannot be written" in error and "Not a directory" in error
    assert "is a file" in error_of(capsys, arguments(f"run_dir={tmp_path}/file"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    assert "holds something already" in error_of(capsys, arguments())
    assert "holds no run" in error_of(capsys, [*arguments(), "--resume"])
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_a_cache_that_cannot_be_written(arguments, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    cache = f"training.cache_dir={tmp_path}/file/cache"
    error = error_of(capsys, arguments(cache, "training.freeze_encoder=true"))
    assert "Not a directory" in error and "training.cache_dir" in error
    assert not (tmp_path / "run").exists()
    # Without vectors the cache only saves time.
    assert main(arguments(cache, summary=True)) == 0


@pytest.mark.parametrize("target", ["checkpoints/", "best_step_", "model", "metrics.jsonl"])
def test_a_full_disk_is_one_line_and_the_run_resumes(
    arguments, tmp_path, capsys, monkeypatch, target
) -> None:
    """The real limit of the operating system on a file's size stands in for the full disk."""
    places = {
        "checkpoints/": (loop, "save_checkpoint"),
        "best_step_": (loop, "save_best"),
        "model": (run_folder.HierBertForDocuments, "save_pretrained"),
        "metrics.jsonl": (loop.Trackers, "log"),
    }
    owner, name = places[target]
    original = getattr(owner, name)

    def limited(*given: Any, **named: Any) -> Any:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        try:
            return original(*given, **named)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, limited)
        error = error_of(capsys, arguments())
    assert target in error and "cannot be written" in error and "--resume" in error
    left = [path.name for path in (tmp_path / "run").rglob(".*")]
    assert left == [] and not (tmp_path / "run" / "model").exists()
    assert main([*arguments(), "--resume"]) == 0
    assert main(arguments(f"run_dir={tmp_path / 'whole'}")) == 0
    first, second = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert all(first[key].equal(second[key]) for key in first)
    assert read_jsonl(tmp_path / "run/metrics.jsonl") == read_jsonl(
        tmp_path / "whole/metrics.jsonl"
    )


def test_the_end_is_evaluated_whatever_the_rhythm(arguments, tmp_path) -> None:
    assert main(arguments("training.eval_every_steps=1000")) == 0
    (line,) = read_jsonl(tmp_path / "run/metrics.jsonl")
    assert line["epoch"] == 1 and line["best"]


def test_a_changed_list_of_files_is_not_resumed(arguments, tmp_path, capsys) -> None:
    rows = [{"text": row["text"], "label": row["label"]} for row in make_rows(8)]
    first, second = (write_jsonl(tmp_path / f"{name}.jsonl", rows) for name in ("a", "b"))
    both = arguments(f"data.test=[{first},{second}]")
    one = arguments(f"data.test=[{first}]")
    assert main(both) == 0
    assert "data.test" in error_of(capsys, [*one, "--resume"])


def test_steps_that_overflow_do_not_move_the_schedule_of_a_resumed_run(
    arguments, tmp_path, monkeypatch
) -> None:
    from accelerate.optimizer import AcceleratedOptimizer

    def skip_the_first() -> None:
        answers = iter([True])
        skipped = property(lambda _: next(answers, False))
        monkeypatch.setattr(AcceleratedOptimizer, "step_was_skipped", skipped)

    common = ["training.epochs=3", "training.checkpoint_every_steps=1"]
    skip_the_first()
    assert main(arguments(*common)) == 0
    step = Trainer._step

    def stop(self: Trainer, plan: Any) -> None:
        if self.state.step == 3:
            raise KeyboardInterrupt
        step(self, plan)

    other = arguments(*common, f"run_dir={tmp_path / 'other'}")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stop)
        skip_the_first()
        assert main(other) == 130
    assert main([*other, "--resume"]) == 0
    assert read_jsonl(tmp_path / "other/metrics.jsonl") == read_jsonl(
        tmp_path / "run/metrics.jsonl"
    )


def test_numbers_in_csv_are_split_without_regard_to_their_values(arguments, tmp_path) -> None:
    rows = [{"text": row["text"], "label": n / 4} for n, row in enumerate(make_rows(8))]
    corpus = as_csv(tmp_path / "numbers.csv", rows)
    assert main(arguments("data.label_type=regression", train=corpus)) == 0
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["lengths"]["train"]["documents"] == 7 and "mse" in results["scores"]


@pytest.mark.parametrize("count", [3, 4, 5])
def test_a_few_documents_are_enough(arguments, tmp_path, count) -> None:
    corpus = write_jsonl(tmp_path / "few.jsonl", make_rows(count))
    more = arguments("training.documents_per_batch=100", train=corpus, summary=True)
    assert main(more) == 0


def test_documents_without_anything_to_learn_from_train(arguments, tmp_path) -> None:
    # Neither has anything to learn from: no sentence, no summary.
    rows = [{"text": "", "summary": "The cat."}, {"text": "A dog.", "summary": None}]
    only = write_jsonl(tmp_path / "one.jsonl", rows)
    more = [f"data.validation={tmp_path / 'train.jsonl'}", "data.label_column=null"]
    assert main(arguments(*more, train=only, summary=True)) == 0
    line = read_jsonl(tmp_path / "run/metrics.jsonl")[0]
    assert line["train.loss"] == 0.0


def test_any_characters_in_texts_labels_and_ids(arguments, tmp_path, capsys) -> None:
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
    corpus = write_jsonl(tmp_path / "any.jsonl", rows)
    test = f"data.test={corpus}"
    for number in (0, 3):
        # Each time another document is shown as the sample.
        write_jsonl(tmp_path / "any.jsonl", rows[number:] + rows[:number])
        more = arguments(test, f"run_dir={tmp_path}/run{number}", train=corpus, summary=True)
        assert main(more) == 0
    results = json.loads((tmp_path / "run0/results.json").read_text(encoding="utf-8"))
    assert [row["label"] for row in results["per_label"]["labels"]] == ["a\0😀", "b\ud83d"]


def test_labels_of_csv_and_jsonl_are_the_same(arguments, tmp_path) -> None:
    rows = [{"text": row["text"], "label": n % 2 == 0} for n, row in enumerate(make_rows(8))]
    validation = write_jsonl(tmp_path / "v.jsonl", rows)
    spelled = [{**row, "label": str(row["label"]).lower()} for row in rows]
    corpus = as_csv(tmp_path / "t.csv", spelled)
    assert main(arguments(f"data.validation={validation}", train=corpus)) == 0
    config = json.loads((tmp_path / "run/model/config.json").read_text())
    assert config["id2label"] == {"0": "false", "1": "true"}


def test_mixed_precision_on_a_cpu(arguments, tmp_path) -> None:
    AcceleratorState._reset_state()
    try:
        assert main(arguments("training.mixed_precision=bf16", summary=True)) == 0
    finally:
        AcceleratorState._reset_state()
    assert all(weight.dtype == torch.float32 for weight in weights(tmp_path / "run").values())


def test_runs_that_share_a_cache_do_not_disturb_each_other(
    arguments, tmp_path, monkeypatch
) -> None:
    """A second run fills the same cache while the first is in the middle of filling it."""
    cache = f"training.cache_dir={tmp_path / 'cache'}"
    common = arguments(cache, "training.freeze_encoder=true")
    write = VectorCache._write
    inner: list[int] = []

    def nested(self: VectorCache, entries: Any) -> Any:
        if not inner:
            inner.append(0)
            inner[0] = main([*common, f"run_dir={tmp_path / 'second'}"])
        return write(self, entries)

    monkeypatch.setattr(VectorCache, "_write", nested)
    assert main(common) == 0 and inner == [0]
    first, second = weights(tmp_path / "run"), weights(tmp_path / "second")
    assert all(first[key].equal(second[key]) for key in first)


def test_lengths_are_in_order(arguments, tmp_path) -> None:
    corpus = write_jsonl(tmp_path / "two.jsonl", make_rows(2, seed=4))
    assert main(arguments(f"data.test={corpus}")) == 0
    found = json.loads((tmp_path / "run/results.json").read_text())["lengths"]["test"]
    assert found["median_tokens"] <= found["p90_tokens"] <= found["longest_tokens"]
