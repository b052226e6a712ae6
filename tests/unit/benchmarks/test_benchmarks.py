"""The benchmarks' own arithmetic, verdicts and limits; no figure of speed is asserted here."""

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel

from benchmarks import evidence, memory, reading, scaling, sentences
from benchmarks.common import figures
from benchmarks.common.cells import Cell, run_cell
from benchmarks.common.figures import Finding, ratios
from benchmarks.common.models import Shape, load_tokenizer
from benchmarks.common.report import choose_sizes
from benchmarks.common.rounds import run_rounds
from benchmarks.common.sample import Document, draw
from benchmarks.common.text import make_segments, make_text, single_token_words
from benchmarks.systems.lineup import BELT, CLS, MEAN, NAIVE, build_lineup
from benchmarks.systems.naive import Naive
from benchmarks.systems.ours import Ours
from benchmarks.training_step import small_first
from hierbert.data.epoch_plan import plan_epoch
from tests.conftest import make_text as known_text

ROOT = Path(__file__).parents[3]


def test_a_verdict_needs_a_full_run_a_figure_and_a_steady_machine() -> None:
    noisy, calm = [100.0, 79.0, 79.0], [100.0, 80.0, 80.0]
    for finding, verdict in (
        # Of lower and of upper bounds, which the bound itself reaches.
        (Finding("naive", [9.0, 3.0, 4.0], calm), figures.REACHED),
        (Finding("naive", [9.0, 3.0, 3.99], calm), figures.MISSED),
        (Finding("recompute_time", [1.4], calm), figures.REACHED),
        (Finding("recompute_time", [1.41], calm), figures.MISSED),
        (Finding("naive", [9.0], noisy), figures.UNSETTLED),
        (Finding("naive", [9.0]), figures.UNSETTLED),
        # Memory does not depend on how busy the machine is.
        (Finding("inference_memory", [1.6], noisy), figures.MISSED),
        (Finding("int8", [], calm, "no int8"), figures.NOT_MEASURED),
    ):
        assert finding.record(full=True)["verdict"] == verdict, finding
        if finding.values:
            assert finding.record(full=False)["verdict"] == figures.NOT_FULL


def test_rounds_alternate_and_probe_before_every_task() -> None:
    log: list[str] = []

    def probe() -> float:
        log.append("probe")
        return 1.0

    def clock(task: object) -> float:
        assert callable(task)
        return float(task())

    tasks = {
        name: lambda name=name, value=value: log.append(name) or value
        for name, value in (("a", 1.0), ("b", 2.0), ("c", 4.0))
    }
    rounds = run_rounds(tasks, 3, probe, clock=clock)  # type: ignore[arg-type]
    expected = [step for name in "abccbaabc" for step in ("probe", name)]
    assert log == expected
    assert ratios(rounds.seconds("c"), rounds.seconds("b")) == [2.0, 2.0, 2.0]
    assert len(rounds.probes()) == 3 and len(rounds.all_probes()) == 9


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 99), characters=st.integers(1_000, 9_000))
def test_a_sample_depends_on_ids_and_seed_and_keeps_its_budget(seed: int, characters: int) -> None:
    chance = random.Random(seed)
    corpora = {
        name: [Document(f"{name}{i}", name, "x" * chance.randint(10, 400)) for i in range(40)]
        for name in ("one", "two")
    }
    sample = draw(corpora, characters, seed)
    shuffled = {name: documents[::-1] for name, documents in reversed(corpora.items())}
    assert draw(shuffled, characters, seed).hash == sample.hash
    for name in corpora:
        used = sum(len(d.text) for d in sample.documents if d.corpus == name)
        assert 0 < used <= characters // 2
    assert len({d.id for d in sample.documents}) == len(sample.documents)
    assert "xxx" not in json.dumps(sample.record())  # ids and figures, no text


def test_made_texts_have_the_tokens_asked_for(encoders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(str(encoders["bert"]))
    words = single_token_words(tokenizer)

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    for tokens in (2, 9, 510, 4_094):
        assert count(make_text(words, tokens, 0)) == tokens
    assert [count(text) for text in make_segments(words, 3, 126, 0)] == [126] * 3


def test_operations_are_those_that_torch_counts(encoders: dict[str, Path]) -> None:
    shape = Shape.of(str(encoders["bert"]))
    encoder = AutoModel.from_pretrained(
        encoders["bert"], attn_implementation="eager", add_pooling_layer=False
    )
    for tokens in (16, 512):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            encoder(torch.full((1, tokens), 7))
        assert shape.flops_per_token(tokens) * tokens == counter.get_total_flops()


def test_the_forecast_of_memory_goes_on_in_a_line() -> None:
    def cell(gib: float) -> Cell:
        return Cell({"peak_rss_bytes": int(gib * 2**30)}, "", 1.0)

    assert memory.forecast([(32, cell(2.0)), (128, cell(5.0))], 512, 0) == pytest.approx(17.0)
    assert memory.forecast([(32, cell(2.0)), (128, Cell(None, "stopped", 1.0))], 512, 0) is None


def test_changed_cuts_and_those_of_languages_are_counted_against_another_version(
    tmp_path: Path,
) -> None:
    other = tmp_path / "sentences.py"
    # It cuts behind each space that follows a period.
    other.write_text(
        "import re\n\ndef split_sentences(text):\n"
        "    ends = [match.end() for match in re.finditer(r'[.] ', text)]\n"
        "    return list(zip([0, *ends], [*ends, len(text)]))\n"
    )
    before = sentences.load_version(str(tmp_path))
    text = "See Dr. Lee now. It ends! Then e.g. this."
    assert sentences.changed_cuts(text, before) == ([8, 36], [26], 3)
    languages = tmp_path / "languages.txt"
    languages.write_text("# no text\n\n== en\nSee Dr. Lee. |It ends! |Then this.\n")
    _, sums = sentences.compare_languages(languages, before)
    assert sums["hierbert"] == {"wrong": 0, "missed": 0}
    assert sums["before"] == {"wrong": 1, "missed": 1}


def test_only_the_sizes_of_a_full_run_make_one() -> None:
    def full(*arguments: str) -> bool:
        options = memory.build_parser().parse_args(arguments)
        return choose_sizes(options, memory.FULL, memory.QUICK)[1]

    assert full() and full("--rounds", "9") and full("--segments", "32", "128", "512")
    assert not full("--quick")
    assert not full("--rounds", "1") and not full("--segments", "32", "64")
    assert not full("--tokens", "4096") and not full("--encoder", "another")


def test_the_small_document_of_a_training_cell_comes_first() -> None:
    sizes = [1_024, 65_536, 65_536]
    one_each = {"documents_per_batch": 1, "processes": 1, "accumulation_steps": 1}
    for start in range(5):
        seed = small_first(sizes, start)
        plan = plan_epoch(sizes, **one_each, seed=seed, epoch=0, group_by_length=False)
        assert seed >= start and plan[0] == [[[0]]]


@pytest.mark.slow
def test_a_cell_that_passes_a_limit_or_fails_says_why() -> None:
    for seconds, gib, told in (
        (0.0, 99.0, "stopped: more than 0 s"),
        (99.0, 0.0, "stopped: more than 0.0 GiB"),
        (99.0, 99.0, "failed with exit code 1: KeyError: 'encoder'"),
    ):
        cell = run_cell(
            "benchmarks.reading", {"kind": "ours", "tokens": 9, "seed": 0}, seconds, gib
        )
        assert cell.result is None and cell.stopped == told


def test_scaling_compares_the_longest_document_with_both_short_ones() -> None:
    def cell(seconds: float, probe: float) -> Cell:
        return Cell({"seconds": [seconds], "probes": [probe] * 2}, "", 1.0)

    ours = {4_096: cell(1.0, 100.0), 1_048_576: cell(512.0, 95.0)}
    finding = scaling.compare_lengths(ours, cell(2.0, 98.0))
    # 512 / 256 of the first, half of that against the second.
    assert finding.values == pytest.approx([2.0, 1.0])
    assert scaling.compare_lengths({4_096: cell(1.0, 1.0)}, None).values == []


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Documents for systems of which two are not installed."""
    monkeypatch.setitem(sys.modules, "belt_nlp", None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    chance = random.Random(3)
    return [known_text(chance, sentences) for sentences in (120, 3, 40, 1)]


@pytest.mark.slow
def test_a_lineup_compares_outputs_and_says_what_is_missing(encoders, texts) -> None:
    lineup = build_lineup(str(encoders["bert"]), 0, texts, texts)
    for name in (MEAN, CLS, NAIVE):
        assert lineup.main[name].timed, lineup.main[name].checked
    for row in (lineup.main[BELT], lineup.main["sentence-transformers encode"]):
        assert row.reason.startswith("not installed") and not row.timed
    others = ("LexGLUE-like layout", "Longformer", "ModernBERT")
    assert [lineup.small[name].reason for name in others] == ["", "", ""]
    for row in lineup.rows:
        # Every row runs, or says why not.
        assert row.timed or row.reason or row.differs
        if row.timed and row.system is not None:
            labels = row.system.classify(texts)
            assert len(labels) == len(texts) and set(labels) <= {0, 1}
    ours = lineup.main[MEAN].system
    assert isinstance(ours, Ours)
    segments = [len(part) for part in ours.segment_texts(texts)]
    assert sum(segments) == len(ours.segment_vectors(texts)) and segments[0] > 1
    real, reached = ours.encoded_tokens(texts)
    assert real <= reached


def test_a_system_with_wrong_outputs_is_not_timed(encoders, texts, monkeypatch) -> None:
    right = Naive.segment_vectors
    monkeypatch.setattr(Naive, "segment_vectors", lambda *given: right(*given) + 1e-3)
    lineup = build_lineup(str(encoders["bert"]), 0, texts[1:], texts[1:])
    assert lineup.main[NAIVE].differs and not lineup.main[NAIVE].timed


@pytest.mark.slow
def test_a_quick_run_of_speed(encoders: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "speed.json"
    sizes = ["--characters", "9000", "--small", "3000", "--epochs", "150000"]
    rounds = ["--rounds", "3", "--small-rounds", "1", "--utilization-rounds", "2"]
    encoder = str(encoders["bert"])
    command = [sys.executable, str(ROOT / "benchmarks" / "speed.py"), "--quick"]
    command += ["--encoder", encoder, "--output", str(output), *sizes, *rounds]
    env = {name: value for name, value in os.environ.items() if name != "HIERBERT_CORPORA"}
    env["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(output.read_text(encoding="utf-8"))
    assert "\n".join(result["lines"]) in done.stdout and "not comparable" in done.stdout
    assert [r["order"] for r in result["rounds"]][1] == result["rounds"][0]["order"][::-1]
    assert len(result["rounds"]) == 3 and MEAN in result["rounds"][0]["seconds"]
    targets = {target["target"]: target for target in result["targets"]}
    assert {t["verdict"] for t in targets.values()} <= {figures.NOT_FULL, figures.NOT_MEASURED}
    for key in ("naive", "utilization", "padding", "cached_epoch"):
        assert targets[key]["median"] is not None, targets[key]
    first, second, third = result["epoch_seconds"]
    assert min(first, second, third) > 0
    assert result["encoder"] == Path(encoder).name and str(tmp_path.parent) not in json.dumps(
        result
    )


def test_a_reading_cell_reads_the_tokens_asked_for(
    encoders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: dict[str, Any] = {"encoder": str(encoders["bert"]), "seed": 0, "budget_seconds": 0.0}
    shared["folder"] = str(tmp_path / "model")
    reading.prepare(shared)
    read: list[int] = []
    right = reading.make_text

    def noted(words: list[str], tokens: int, seed: int) -> str:
        read.append(tokens)
        return right(words, tokens, seed)

    monkeypatch.setattr(reading, "make_text", noted)
    for kind in (*scaling.SYSTEMS, "all"):
        result = reading.read_document({"kind": kind, "tokens": 700, **shared})
        assert len(result["seconds"]) == 1 and len(result["probes"]) == 2
        assert 0 < result["rss_before_bytes"] <= result["peak_rss_bytes"]
        # Two special tokens make it 700.
        assert read[0] == 698
    for kind in scaling.PARTS:
        result = reading.read_sentences({"kind": kind, "units": 50, **shared})
        assert len(result["seconds"]) == 1 and result["units"] == 50


def test_parts_are_taken_from_the_text_by_their_scores() -> None:
    # As the evidence of a document of three sentences has them.
    text = "One two. Three. Four five six."
    spans = [(0, 8), (9, 15), (16, 30)]
    parts = [
        {"start": a, "end": b, "contribution": c}
        for (a, b), c in zip(spans, (1, 3, -2), strict=True)
    ]
    document = SimpleNamespace(text=text, segment_spans=[(0, 30)], sentence_spans=spans)
    config = SimpleNamespace(problem_type=None, label2id={"x": 0, "y": 1, "z": 2})
    model = SimpleNamespace(model=SimpleNamespace(config=config))
    asked = evidence.Asked(model, document, {"label": "y", "segments": [], "sentences": parts})
    # 28 characters are in sentences.
    assert asked.chosen(asked.scores, 0.1) == [(9, 15)]
    assert asked.chosen(asked.scores, 0.5) == [(9, 15), (0, 8)]
    assert asked.texts([(0, 8), (9, 15)]) == ("Four five six.", "One two. Three.")
    explained, answered = asked.explained(np.array([0.1, 2.0, -1.0]))
    share = math.exp(2.0) / (math.exp(0.1) + math.exp(2.0) + math.exp(-1.0))
    assert explained == pytest.approx(math.log(share / (1 - share))) and answered


def test_words_of_tfidf_add_up_to_its_linear_model() -> None:
    rows = [{"text": t, "label": n} for t, n in (("a good film", "x"), ("bad, bad film", "y"))] * 3
    of = evidence.words_of_tfidf(rows)
    text = "Good film, good end"
    found = of(text, "x")
    assert {text[a:b] for a, b in found} == {"Good", "film", "good"}
    inputs = TfidfVectorizer(sublinear_tf=True, min_df=2)
    points = inputs.fit_transform([row["text"] for row in rows])
    fitted = LogisticRegression(C=10.0).fit(points, [row["label"] == "x" for row in rows])
    total = fitted.decision_function(inputs.transform([text]))[0] - fitted.intercept_[0]
    assert sum(found.values()) == pytest.approx(total, abs=1e-3)
