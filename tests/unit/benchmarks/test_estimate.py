"""The arithmetic of the estimate, against counts and sums of another kind."""

import json
import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from benchmarks import estimate

GIVEN = [
    *("--documents", "1000000", "--tokens-per-document", "1000"),
    *("--tokens-per-second-per-core", "1000", "--cores", "10", "--gpus", "2"),
    *("--segmentation-tokens-per-second", "450000", "--characters-per-token", "4.66"),
    *("--dollars-per-core-hour", "0.1", "--dollars-per-gpu-hour", "2", "--mfu", "0.5"),
]


def tables(text: str) -> list[dict[str, list[str]]]:
    """The rows of each table by their first cells."""
    found: list[dict[str, list[str]]] = []
    for group in re.findall(r"(?:^\|.*\n?)+", text, flags=re.M):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in group.split("\n")]
        found.append({row[0]: row[1:] for row in rows[2:] if row[0]})
    return found


@pytest.mark.parametrize("tokens", [16, 64])
def test_the_operations_of_a_token_are_those_that_torch_counts(tokens) -> None:
    encoder = estimate.Encoder("tiny", 3, 32, 80, 1.0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=80,
        attn_implementation="eager",
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=torch.zeros(2, tokens, dtype=torch.long))
    assert encoder.flops_per_token(tokens) * 2 * tokens == counter.get_total_flops()


def test_hours_and_money_follow_from_the_inputs(capsys) -> None:
    estimate.main(GIVEN)
    compute, storage, failures = tables(capsys.readouterr().out)
    # 1e9 tokens at 1,000 a second: 277.8 hours of a core, 1.157 days on ten, 10 cents an hour.
    assert compute["all-MiniLM-L6-v2, CPU core"] == ["1,000", "278", "-", "1.16", "27.8", "27.8"]
    # 494.5 Tflop/s over 25.95 Mflop: 19.06 million tokens a second.
    rate, hours, feeding, days, dollars, _ = compute["all-MiniLM-L6-v2, H100 SXM"]
    assert (rate, hours) == ("19,100,000", "0.0146")
    assert feeding == "42.3"
    assert (days, dollars) == ("0.000304", "0.0292")
    assert storage["document vectors, float32, BERT base (768)"] == ["0.00307"]
    assert storage["input, text of one byte a character"] == ["0.00466"]
    # 64 million characters are 13.7 million tokens; 1e9 tokens are 72.8 of these.
    assert failures["BERT base, H100 SXM"][0] == "72.8"


def test_a_corpus_twice_as_large_costs_twice_as_much(capsys) -> None:
    estimate.main(GIVEN)
    once, *_ = tables(capsys.readouterr().out)
    estimate.main([*GIVEN, "--documents", "2000000"])
    twice, *_ = tables(capsys.readouterr().out)
    for name, cells in once.items():
        dollars = [float(row[4].replace(",", "")) for row in (cells, twice[name])]
        assert dollars[1] == pytest.approx(2 * dollars[0], rel=0.01)
        assert cells[5] == twice[name][5]


def test_the_speed_of_a_core_is_read_from_the_last_run(tmp_path) -> None:
    seconds = [{"seconds": {"ours, mean pooling": value}} for value in (4.0, 100.0, 5.0)]
    run = {
        "rounds": seconds,
        "sample": {"tokens": 10_000},
        "machine": {"threads": 2, "cpu": "a CPU"},
        "encoder": "small",
    }
    path = tmp_path / "speed.json"
    path.write_text(json.dumps(run), encoding="utf-8")
    speed, machine = estimate.core_speed(path)
    assert speed == 1000.0 and machine == "small in float32 on a CPU, 2 threads"
    with pytest.raises(SystemExit, match="run benchmarks/speed"):
        estimate.core_speed(tmp_path / "none.json")


def test_nonsense_is_refused(capsys) -> None:
    for given in (["--documents", "0"], ["--mfu", "-1"], ["--dollars-per-core-hour", "nan"]):
        with pytest.raises(SystemExit) as caught:
            estimate.main(given)
        assert caught.value.code == 2
        assert "is not allowed: above 0" in capsys.readouterr().err
