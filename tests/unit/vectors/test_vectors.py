"""Cached vectors: never wrong, whatever becomes of the limit, the files, the disk and others."""

import multiprocessing
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from commands import write_jsonl
from conftest import HIDDEN, make_rows, make_text
from inference import answer, infer, save_model, the_error
from small_models import build
from vectors import LONG_AGO, count_passes, direct, old_file, same, vector_files

from hierbert import HierBertForDocuments, HierBertPredictor
from hierbert.errors import ConfigError, RunError
from hierbert.model.encoding import SegmentEncoder
from hierbert.model.segmentation import SegmentedDocument
from hierbert.vectors import cache as vector_cache
from hierbert.vectors.cache import CacheOptions, VectorCache
from hierbert.vectors.keys import document_key, encoder_fingerprint
from hierbert.vectors.limit import used_bytes
from hierbert.vectors.store import Entry


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path]) -> HierBertForDocuments:
    return build(encoders["bert"])[0].eval()


@pytest.fixture(scope="module")
def documents(encoders: dict[str, Path]) -> list[SegmentedDocument]:
    chance = random.Random(5)
    texts = ["", *(make_text(chance, chance.randint(1, 20)) for _ in range(11))]
    return build(encoders["bert"])[1].segment(texts)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return count_passes(monkeypatch)


def reopened(options: Path | CacheOptions, model: HierBertForDocuments) -> VectorCache:
    cache = VectorCache(options, model.hierbert)
    cache.refresh()
    return cache


# The limit.


@pytest.mark.parametrize("kept_documents", [0, 5, 12])
def test_a_reached_limit_costs_time_and_nothing_else(
    tmp_path, model, documents, capsys, kept_documents
) -> None:
    sizes = [4 * HIDDEN * (len(d.segment_lengths) + len(d.sentence_spans)) + 40 for d in documents]
    old = old_file(tmp_path, f"{24 * '0'}.safetensors", 10_000, LONG_AGO)
    options = CacheOptions(tmp_path, limit_gib=(sum(sizes[:kept_documents]) + 8) / 2**30)
    cache = VectorCache(options, model.hierbert)
    cache.fill(documents, Accelerator())
    said = capsys.readouterr().err
    assert not old.exists()
    assert ("reached its limit" in said) == (kept_documents < 12)
    assert (f"{12 - kept_documents} of 12 documents are not kept" in said) == (kept_documents < 12)
    for _ in range(2):
        assert same(cache.batch(documents), direct(model, documents))
    later = reopened(options, model)
    assert same(later.batch(documents), direct(model, documents))
    assert (later.found, later.encoded) == (kept_documents, 12 - kept_documents)


def test_filling_stops_at_the_limit(tmp_path, model, documents, monkeypatch) -> None:
    monkeypatch.setattr(vector_cache, "_TOKENS_PER_BATCH", 100)
    monkeypatch.setattr(vector_cache, "_TOKENS_PER_FILE", 100)
    cache = VectorCache(CacheOptions(tmp_path, limit_gib=1e-9), model.hierbert)
    total = sum(document.tokens for document in documents)
    assert 0 < cache.fill(documents, Accelerator()) < total / 2


def test_a_limit_never_takes_what_the_running_job_uses(tmp_path, model, documents) -> None:
    VectorCache(tmp_path, model.hierbert).fill(documents[:6], Accelerator())
    (used,) = vector_files(tmp_path)
    os.utime(used, (LONG_AGO, LONG_AGO))
    old = old_file(tmp_path, f"{24 * '0'}.safetensors", 100, LONG_AGO)
    options = CacheOptions(tmp_path, limit_gib=used.stat().st_size / 2**30)
    job = VectorCache(options, model.hierbert)
    job.fill(documents, Accelerator())
    assert used.exists() and not old.exists()
    # Another job, which does not use it, takes its room.
    os.utime(used, (LONG_AGO, LONG_AGO))
    VectorCache(options, model.hierbert).fill(documents[6:], Accelerator())
    assert not used.exists()
    assert same(job.batch(documents), direct(model, documents))


def test_the_default_limit_is_half_of_the_free_room(tmp_path, model, monkeypatch) -> None:
    old_file(tmp_path, f"{24 * '0'}.safetensors", 1000, LONG_AGO)

    class Usage:
        free = 5000

    monkeypatch.setattr("hierbert.vectors.limit.shutil.disk_usage", lambda _: Usage)
    assert VectorCache(tmp_path, model.hierbert).limit == 3000


@pytest.mark.parametrize(
    "values", [{"dtype": "int8"}, {"limit_gib": 0.0}, {"limit_gib": float("nan")}]
)
def test_options_that_are_not_allowed(tmp_path, values) -> None:
    ((name, value),) = values.items()
    with pytest.raises(ConfigError, match=f"cache_{name}={value!r} is not"):
        CacheOptions(tmp_path, **values)


# What is encoded together, and what vectors depend on.


def test_a_fill_that_was_killed_or_lost_files_encodes_in_the_same_company(
    tmp_path, model, documents, monkeypatch
) -> None:
    short, other, *_, long = sorted(documents, key=lambda document: document.tokens)
    keys = [document_key(document) for document in (short, long, other)]
    companies: list[tuple[bytes, ...]] = []

    class Noting(VectorCache):
        def _encode(self, documents: dict[bytes, SegmentedDocument]) -> list[Entry]:
            companies.append(tuple(documents))
            return super()._encode(documents)

    monkeypatch.setattr(vector_cache, "_TOKENS_PER_BATCH", long.tokens)
    monkeypatch.setattr(vector_cache, "_TOKENS_PER_FILE", 1)  # a file for each batch
    Noting(tmp_path, model.hierbert).fill([short, long, other], Accelerator())
    assert companies == [(key,) for key in keys]
    # The long document between the two short ones is there still: they are not put together.
    for path in sorted(vector_files(tmp_path), key=lambda path: path.stat().st_size)[:2]:
        path.unlink()
    companies.clear()
    Noting(tmp_path, model.hierbert).fill([short, long, other], Accelerator())
    assert companies == [(keys[0],), (keys[2],)]


def test_the_fingerprint_is_of_all_that_changes_vectors(encoders, tmp_path) -> None:
    model, processor = build(encoders["bert"], pooling="attention")
    base = model.hierbert
    first = encoder_fingerprint(base)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = HierBertForDocuments.from_pretrained(tmp_path).hierbert
    with torch.no_grad():  # what follows the encoder
        for weight in loaded.aggregator.parameters():
            weight.add_(1.0)
    assert encoder_fingerprint(loaded) == first
    seen = {first, encoder_fingerprint(base.bfloat16())}
    base.float()
    for change in (
        base.segment_encoder.attention.bias,
        next(base.segment_encoder.encoder.parameters()),
    ):
        with torch.no_grad():
            change.view(-1)[0] += 0.5
        seen.add(encoder_fingerprint(base))
    base.config.pooling = "mean"
    seen.add(encoder_fingerprint(base))
    base.segment_encoder.first_token_sees_all = True
    seen.add(encoder_fingerprint(base))
    base.segment_encoder.runtime = SimpleNamespace(name="other", dtype="float32")
    assert encoder_fingerprint(base) in seen
    base.segment_encoder.runtime.dtype = "int8"
    seen.add(encoder_fingerprint(base))
    assert len(seen) == 7


def test_weights_that_cannot_be_read_are_refused(encoders) -> None:
    class Packed(torch.nn.Module):
        def get_extra_state(self) -> object:
            return object()

    model, _ = build(encoders["bert"])
    model.hierbert.segment_encoder.packed = Packed()
    with pytest.raises(TypeError, match=r"packed.*object: no tensor"):
        encoder_fingerprint(model.hierbert)


def test_float16_keeps_each_number_to_its_tolerance() -> None:
    chance = torch.Generator().manual_seed(1)
    for scale in (1e-6, 1e-4, 1.0, 60_000.0):
        vectors = scale * (2 * torch.rand(8, 100, generator=chance) - 1)
        kept = vector_cache._rounded(Entry(b"k" * 16, vectors, vectors[:0]), torch.float16)
        found = kept.segment_vectors
        # Half of a unit in the last place: 11 bits, and 2^-24 below the smallest normal number.
        bound = torch.maximum(vectors.abs().double() * 2**-11, torch.tensor(2.0**-25))
        assert found.dtype == torch.float16
        assert bool(((found.double() - vectors.double()).abs() <= bound).all())
        # A document with a number beyond float16 is kept as it is.
        beyond = Entry(b"k" * 16, vectors, torch.tensor([[65_520.0]]))
        assert vector_cache._rounded(beyond, torch.float16) is beyond


def test_float16_gives_the_same_found_and_encoded(tmp_path, model, documents) -> None:
    options = CacheOptions(tmp_path, dtype="float16")
    cache = VectorCache(options, model.hierbert)
    first = cache.batch(documents)
    cache.flush()
    later = reopened(options, model)
    second = later.batch(documents)
    assert (later.found, later.encoded) == (len(documents), 0)
    exact = direct(model, documents)
    for encoded, found, right in zip(first, second, exact, strict=True):
        assert encoded.equal(found) and not found.equal(right)
        torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-5)
    # A job that wants float32 finds none of these.
    plain = reopened(tmp_path, model)
    assert same(plain.batch(documents), exact) and plain.encoded == len(documents)
    plain.flush()
    half, whole = (used_bytes(tmp_path, cache.folder.name) for cache in (later, plain))
    assert 0.4 < half / whole < 0.7


# Damage.


def test_damage_below_a_running_job_is_encoded_again(tmp_path, model, documents, encoded) -> None:
    first = VectorCache(tmp_path, model.hierbert)
    first.fill(documents, Accelerator())
    (path,) = vector_files(tmp_path)
    whole = bytearray(path.read_bytes())
    place = whole.index(first.batch(documents[3:4])[1][0].numpy().tobytes())
    whole[place : place + 4 * HIDDEN] = bytes(4 * HIDDEN)  # a lost page of the disk reads as zeros
    job = VectorCache(tmp_path, model.hierbert)
    assert job.fill(documents, Accelerator()) == 0
    path.write_bytes(whole)
    assert same(job.batch(documents), direct(model, documents))
    assert job.encoded == 1 and not path.exists()
    job.flush()
    assert same(job.batch(documents), direct(model, documents))
    # What was lost with the file is encoded by the next job, once.
    for tokens_are_encoded in (True, False):
        following = VectorCache(tmp_path, model.hierbert)
        assert (following.fill(documents, Accelerator()) > 0) == tokens_are_encoded
        assert same(following.batch(documents), direct(model, documents))
        assert following.encoded == 0


def test_damage_before_a_run_is_found_and_encoded_to_the_same_bits(tmp_path, model, documents):
    VectorCache(tmp_path, model.hierbert).fill(documents, Accelerator())
    (path,) = vector_files(tmp_path)
    whole = path.read_bytes()
    for place in range(len(whole) // 7, len(whole), len(whole) // 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :])
        VectorCache(tmp_path, model.hierbert).fill(documents, Accelerator())
        assert path.read_bytes() == whole, place


def test_numbers_that_are_not_finite_are_not_kept(tmp_path, model, documents, monkeypatch) -> None:
    forward = SegmentEncoder.forward

    def failing(self: SegmentEncoder, *inputs: Any) -> Any:
        segments, sentences = forward(self, *inputs)
        segments[-1, 0] = torch.inf
        return segments, sentences

    cache = VectorCache(tmp_path, model.hierbert)
    with monkeypatch.context() as patched:
        patched.setattr(SegmentEncoder, "forward", failing)
        segments, _ = cache.batch(documents)
        assert not bool(segments.isfinite().all())
    cache.flush()
    assert same(cache.batch(documents), direct(model, documents))
    assert cache.encoded == len(documents) + 1


def test_a_disk_that_fails_ends_keeping_and_not_the_job(
    tmp_path, model, documents, monkeypatch, capsys
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hierbert.vectors.store.write_whole", full)
    cache = VectorCache(tmp_path, model.hierbert)
    for _ in range(2):
        assert same(cache.batch(documents), direct(model, documents))
        cache.flush()
    assert capsys.readouterr().err.count("No space left on device") == 1
    # Before training nothing is lost yet: the run says so and stops.
    with pytest.raises(RunError, match=r"No space left .*cache_dir"):
        VectorCache(tmp_path, model.hierbert).fill(documents, Accelerator())


# Others at the same folder: processes, predictors, the command.


def test_processes_that_fill_a_folder_at_once_all_get_the_right_vectors(
    model, documents, tmp_path, monkeypatch, capfd
) -> None:
    monkeypatch.setattr(vector_cache, "_TOKENS_PER_BATCH", 100)
    monkeypatch.setattr(vector_cache, "_TOKENS_PER_FILE", 200)
    processes, accelerator = multiprocessing.get_context("fork"), Accelerator()
    together = processes.Barrier(3, timeout=100)

    def fill(order: int, limit_gib: float | None) -> None:
        cache = VectorCache(CacheOptions(tmp_path, limit_gib=limit_gib), model.hierbert)
        if limit_gib:
            cache._started = float("inf")  # as if nothing in the folder were in use
        together.wait()
        for _ in range(2):
            cache.fill(documents[::order], accelerator)
            assert same(cache.batch(documents), direct(model, documents))

    # One of them has so little room that it removes files of the others.
    children = [
        processes.Process(target=fill, args=(order, limit))
        for order, limit in ((1, None), (-1, None), (1, 2e-5))
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert "damaged" not in capfd.readouterr().err
    assert same(reopened(tmp_path, model).batch(documents), direct(model, documents))
    assert not list(tmp_path.glob("vectors-*/.*"))


TEXTS = [str(row["text"]) for row in make_rows(12, seed=9)] + ["", "One."]


def test_another_task_or_budget_encodes_nothing(encoders, tmp_path, encoded) -> None:
    model, processor = build(encoders["bert"])
    # What was encoded is kept when no more is taken.
    answers = HierBertPredictor(model, processor, batch_tokens=1, vector_cache=tmp_path).predict(
        TEXTS
    )
    next(answers)
    next(answers)
    answers.close()
    encoded.clear()
    predictor = HierBertPredictor(model, processor, vector_cache=tmp_path)
    predictor.classify(TEXTS[:2])
    assert encoded == []
    predictor.summarize(TEXTS, max_sentences=2)
    encoded.clear()
    predictor.embed(TEXTS[3])
    HierBertPredictor(model, processor, vector_cache=tmp_path).summarize(TEXTS, max_words=9)
    assert encoded == []
    predictor.classify(["Another one.", TEXTS[0], "Another one."])
    assert encoded == [1]


def test_the_command_encodes_what_neither_training_nor_it_has_encoded(
    encoders, tmp_path, encoded, capsys
) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"])
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"text": text} for text in TEXTS])
    # The same encoder before it was saved and after it was loaded is one encoder.
    model, processor = build(encoders["bert"])
    VectorCache(tmp_path / "cache", model.hierbert).fill(
        processor.segment(TEXTS[1:]), Accelerator()
    )
    cache = ("--cache-dir", str(tmp_path / "cache"))
    plain = answer(folder, docs, tmp_path / "plain.jsonl")
    capsys.readouterr()
    first = answer(folder, docs, tmp_path / "first.jsonl", *cache)
    said = capsys.readouterr().err
    assert "vectors: 13 documents found, 1 encoded" in said and " MiB of at most " in said
    encoded.clear()
    second = answer(folder, docs, tmp_path / "second.jsonl", *cache)
    answer(folder, docs, tmp_path / "third.jsonl", *cache, "--task", "summarize", "--max-words=7")
    assert encoded == [1, 1], "loading tries one word, and nothing else was encoded"
    assert "vectors: 14 documents found, 0 encoded" in capsys.readouterr().err
    assert plain == first == second


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
