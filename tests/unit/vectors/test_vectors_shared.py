"""Vectors that processes, predictors and the command find in one folder, killed or at once."""

import os
import random
import signal
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from commands import write_jsonl
from conftest import make_rows, make_text
from inference import answer, infer, save_model, the_error
from small_models import build
from vectors import LONG_AGO, count_passes, direct, same

from hierbert import HierBertForDocuments, HierBertPredictor
from hierbert.model.segmentation import SegmentedDocument
from hierbert.vectors import cache as vector_cache
from hierbert.vectors import store
from hierbert.vectors.cache import CacheOptions, VectorCache


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path]) -> HierBertForDocuments:
    return build(encoders["bert"])[0].eval()


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return count_passes(monkeypatch)


# Kill -9 and other processes.


def child(action: Callable[[], object]) -> int:
    """A process that does something and ends."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def ends(*pids: int) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


@pytest.fixture
def documents(encoders, monkeypatch) -> list[SegmentedDocument]:
    """25 documents, of which a cache makes many files."""
    monkeypatch.setattr(vector_cache, "_TOKENS_PER_BATCH", 100)
    monkeypatch.setattr(vector_cache, "_TOKENS_PER_FILE", 200)
    chance = random.Random(6)
    texts = [make_text(chance, chance.randint(1, 9)) for _ in range(25)]
    return build(encoders["bert"])[1].segment(texts)


def test_what_a_killed_run_has_written_is_found(
    model, documents, encoders, tmp_path, monkeypatch
) -> None:
    written: list[Path] = []

    def killed_in_the_middle(tensors: Any, path: Path) -> None:
        save(tensors, path)
        written.append(path)
        if len(written) == 3:
            path.write_bytes(path.read_bytes()[:300])
            os.kill(os.getpid(), signal.SIGKILL)

    save, accelerator = store.save_file, Accelerator()
    with monkeypatch.context() as patch:
        patch.setattr(store, "save_file", killed_in_the_middle)
        killed = child(lambda: VectorCache(tmp_path, model.hierbert).fill(documents, accelerator))
    assert ends(killed) == [-signal.SIGKILL]
    (half,) = tmp_path.glob("vectors-*/.*")
    assert half.stat().st_size == 300
    total = sum(len(document.input_ids) for document in documents)
    rerun = VectorCache(tmp_path, model.hierbert)
    # Two files of at least 200 tokens were whole.
    assert 0 < rerun.fill(documents, accelerator) <= total - 400
    assert same(rerun.batch(documents), direct(model, documents)) and rerun.encoded == 0
    assert VectorCache(tmp_path, model.hierbert).fill(documents, accelerator) == 0
    os.utime(half, (LONG_AGO, LONG_AGO))
    rerun.batch(build(encoders["bert"])[1].segment(["One more."]))
    rerun.flush()
    assert not half.exists()


def test_processes_that_fill_a_folder_at_once_all_get_the_right_vectors(
    model, documents, tmp_path, capfd
) -> None:
    ready, go, accelerator = os.pipe(), os.pipe(), Accelerator()

    def fill(order: int, limit_gib: float | None = None) -> None:
        cache = VectorCache(CacheOptions(tmp_path, limit_gib=limit_gib), model.hierbert)
        if limit_gib:
            cache._started = float("inf")  # as if nothing in the folder were in use
        os.write(ready[1], b"r")
        os.read(go[0], 1)
        for _ in range(2):
            cache.fill(documents[::order], accelerator)
            assert same(cache.batch(documents), direct(model, documents))

    # One of them has so little room that it removes files of the others.
    three = [child(partial(fill, *given)) for given in ((1,), (-1,), (1, 2e-5))]
    for _ in three:
        os.read(ready[0], 1)
    os.write(go[1], b"ggg")
    assert ends(*three) == [0, 0, 0]
    assert "damaged" not in capfd.readouterr().err
    later = VectorCache(tmp_path, model.hierbert)
    later.refresh()
    assert same(later.batch(documents), direct(model, documents))
    assert not list(tmp_path.glob("vectors-*/.*"))


# Inference.

TEXTS = [str(row["text"]) for row in make_rows(12, seed=9)] + ["", "One."]


def test_another_task_or_budget_encodes_nothing(encoders, tmp_path, encoded) -> None:
    model, processor = build(encoders["bert"])
    # What was encoded is kept when no more is taken.
    predictor = HierBertPredictor(model, processor, batch_tokens=1, vector_cache=tmp_path)
    answers = predictor.predict(TEXTS)
    next(answers)
    next(answers)
    answers.close()
    encoded.clear()
    predictor = HierBertPredictor(model, processor, vector_cache=tmp_path)
    predictor.classify(TEXTS[:2])
    assert encoded == []
    predictor.summarize(TEXTS, max_sentences=2)
    assert sum(encoded) > 0
    encoded.clear()
    predictor.embed(TEXTS[3])
    HierBertPredictor(model, processor, vector_cache=tmp_path).summarize(TEXTS, max_words=9)
    assert encoded == []
    predictor.classify(["Another one.", TEXTS[0], "Another one."])
    assert encoded == [1]


def test_another_dtype_of_the_model_finds_nothing(encoders, tmp_path) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"])
    for dtype, found in (("float32", 0), ("bfloat16", 0), ("bfloat16", 14), ("float32", 14)):
        predictor = HierBertPredictor.from_pretrained(
            folder, device="cpu", dtype=dtype, vector_cache=tmp_path / "cache"
        )
        given = [answer.probabilities for answer in predictor.classify(TEXTS)]
        plain = HierBertPredictor.from_pretrained(folder, device="cpu", dtype=dtype)
        tolerance = 1e-5 if dtype == "float32" else 2e-2
        for one, other in zip(given, plain.classify(TEXTS), strict=True):
            assert one == pytest.approx(other.probabilities, abs=tolerance)
        assert predictor.vectors is not None and predictor.vectors.found == found


def test_the_command_encodes_what_neither_training_nor_it_has_encoded(
    encoders, tmp_path, encoded, capsys
) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"])
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"text": text} for text in TEXTS])
    cache = ("--cache-dir", str(tmp_path / "cache"))
    plain = answer(folder, docs, tmp_path / "plain.jsonl")
    first = answer(folder, docs, tmp_path / "first.jsonl", *cache)
    said = capsys.readouterr().err
    assert "vectors: 0 documents found, 14 encoded" in said and " MiB of at most " in said
    encoded.clear()
    second = answer(folder, docs, tmp_path / "second.jsonl", *cache)
    answer(folder, docs, tmp_path / "third.jsonl", *cache, "--task", "summarize", "--max-words=7")
    assert encoded == [1, 1], "loading tries one word, and nothing else was encoded"
    assert "vectors: 14 documents found, 0 encoded" in capsys.readouterr().err
    assert plain == first == second
    # The same encoder before it was saved and after it was loaded is one encoder.
    model, processor = build(encoders["bert"])
    VectorCache(tmp_path / "trained", model.hierbert).fill(processor.segment(TEXTS), Accelerator())
    encoded.clear()
    answer(folder, docs, tmp_path / "a.jsonl", "--cache-dir", str(tmp_path / "trained"))
    assert encoded == [1]


def test_mistakes_of_the_command(encoders, tmp_path, capsys) -> None:
    folder, out = save_model(tmp_path / "model", encoders["bert"]), tmp_path / "out.jsonl"
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"text": "One."}])
    for flags, part in (
        (["--cache-limit-gib", "2"], "--cache-limit-gib needs --cache-dir"),
        (["--cache-dir", tmp_path / "a", "--cache-limit-gib", "-1"], "--cache-limit-gib=-1.0 is"),
        (["--cache-dir", docs / "cache"], "docs.jsonl/cache cannot be written: Not a directory"),
    ):
        assert infer(folder, "--input", docs, "--output", out, *map(str, flags)) == 2
        assert part in the_error(capsys) and not out.exists()
