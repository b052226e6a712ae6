"""Encoders whose tokenizers are unusual: they work, or are refused in one line."""

import json
import shutil
from pathlib import Path

import pytest
from commands import read_jsonl, refuse, succeed, write_jsonl
from small_runs import small_run

from hierbert import HierBert


def bare(encoder: Path, folder: Path) -> Path:
    """The encoder with a tokenizer that adds no special tokens."""
    shutil.copytree(encoder, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_an_encoder_without_special_tokens_trains_and_answers(
    encoders, tmp_path, kind, pooling
) -> None:
    settings = small_run(tmp_path, bare(encoders[kind], tmp_path / "bare"))
    more = ["data.summary_column=summary", f"model.pooling={pooling}", "training.epochs=1"]
    succeed("train.py", *settings(*more), here=True)
    model = HierBert.from_pretrained(tmp_path / "run/model")
    usual = HierBert.from_encoder(encoders[kind])
    texts = ["The plot. It slept.", "word " * 100, "", " ", ["", "One sentence."]]
    # None are added: a text has two tokens less than with [CLS] and [SEP].
    [found], [with_them] = model.processor.segment(texts[:1]), usual.processor.segment(texts[:1])
    assert found.tokens == with_them.tokens - 2
    write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in texts if text])
    asked = ["--model", tmp_path / "run/model", "--input", tmp_path / "in.jsonl", "--task", "all"]
    succeed("infer.py", *asked, "--output", tmp_path / "out.jsonl", here=True)
    rows = read_jsonl(tmp_path / "out.jsonl")
    assert [row["label"] in ("film", "law") for row in rows] == [True] * (len(texts) - 1)
    answers = model.embed(texts)
    for text, answer in zip(texts, answers, strict=True):
        [alone] = model.embed([text])
        assert alone.document_vector == pytest.approx(answer.document_vector, abs=1e-5)


def test_a_segment_without_room_beside_special_tokens_is_one_line(encoders, tmp_path) -> None:
    settings = small_run(tmp_path, encoders["bert"])
    error = refuse("train.py", *settings("segmentation.max_tokens_per_segment=2"), here=True)
    assert "max_tokens_per_segment" in error
