"""Encoders that read more than 512 tokens, given one long segment."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import read_jsonl, succeed
from conftest import save_encoder
from small_runs import small_run

from hierbert import HierBert, HierBertConfig

KINDS = ("longformer", "big_bird", "modernbert")
LONG = "The court read the contract. " * 120
SHORT = "A bad film."


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("long")
    return lambda kind: (
        folder / kind if (folder / kind).exists() else save_encoder(folder / kind, kind)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_segment_is_read_whole_and_alone(encoder, kind) -> None:
    made = HierBert.from_encoder(encoder(kind), max_tokens_per_segment=1000, pooling="cls")
    text = LONG[:900]
    (alone,) = made.embed(text, segment_vectors=True)
    assert len(alone.segment_vectors) == 1
    # What stands beside it, or before it, changes nothing.
    beside = made.embed([SHORT, text, SHORT])[1]
    assert beside.document_vector == pytest.approx(alone.document_vector, abs=1e-5)
    # The first token knows of the last one.
    (other,) = made.embed(text[:-9] + "film good")
    change = max(
        abs(a - b) for a, b in zip(other.document_vector, alone.document_vector, strict=True)
    )
    assert change > 1e-5
    # Unless longer ones are asked for, segments are as before.
    shorter = HierBert.from_encoder(encoder(kind)).embed(text, segment_vectors=True)
    assert len(shorter[0].segment_vectors) == 2


def test_a_longformer_of_before_reads_as_before(encoder) -> None:
    made = HierBert.from_encoder(encoder("longformer"))
    values = json.loads(made.model.config.to_json_string())
    assert HierBertConfig.from_dict(values).first_token_sees_all
    del values["first_token_sees_all"]
    assert not HierBertConfig.from_dict(values).first_token_sees_all


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_long_encoder_is_trained_and_answers(encoder, tmp_path, kind) -> None:
    settings = small_run(tmp_path, encoder(kind))
    more = ["segmentation.max_tokens_per_segment=1000", "segmentation.max_segments=1"]
    done = succeed("train.py", *settings(*more, "model.aggregator_layers=0"), here=True)
    assert "in segments of up to 1000" in done.stderr
    asked = ["--model", tmp_path / "run/model", "--input", tmp_path / "test.jsonl"]
    succeed("infer.py", *asked, "--output", tmp_path / "answers.jsonl", here=True)
    asked += ["--output", tmp_path / "int8.jsonl", "--device", "cpu", "--dtype", "int8"]
    succeed("infer.py", *asked, here=True)
    rows = read_jsonl(tmp_path / "answers.jsonl")
    for row, near in zip(rows, read_jsonl(tmp_path / "int8.jsonl"), strict=True):
        assert row["label"] in ("film", "law")
        assert near["probabilities"] == pytest.approx(row["probabilities"], abs=0.05)
