"""The training command as a user meets it: formats, exit codes, what is left behind."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from accelerate.state import AcceleratorState
from commands import ROOT, read_jsonl, run, succeed, write_jsonl
from conftest import make_rows
from training import error_of, one_file_run, weights

from hierbert import HierBertPredictor
from hierbert.training.cli import main
from hierbert.training.loop import Trainer
from hierbert.vectors.cache import VectorCache


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a small run on a file of documents; it goes to the folder `run`."""
    return one_file_run(tmp_path, encoders["bert"])


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
