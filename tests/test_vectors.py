"""Cached vectors: never wrong, whatever happens to the files, the disk and other processes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from commands import ROOT, write_jsonl
from conftest import HIDDEN, make_rows, make_text
from hypothesis import given, settings
from hypothesis import strategies as st
from inference import answer, infer, save_model, the_error
from safetensors.torch import load_file, save_file
from small_models import build

from hierbert import HierBertForDocuments, HierBertPredictor
from hierbert.errors import ConfigError, RunError
from hierbert.model.encoding import SegmentEncoder
from hierbert.model.processing_hierbert import collate
from hierbert.model.segmentation import SegmentedDocument
from hierbert.vectors import fill
from hierbert.vectors.fill import CacheOptions, VectorCache
from hierbert.vectors.keys import encoder_fingerprint
from hierbert.vectors.limit import make_room, used_bytes
from hierbert.vectors.store import Entry, VectorStore

LONG_AGO = 1_000_000_000.0


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
    """Segments of every pass through a segment encoder from now on."""
    passes: list[int] = []
    forward = SegmentEncoder.forward

    def counting(self: SegmentEncoder, input_ids: Any, segment_lengths: Any, *rest: Any) -> Any:
        passes.append(len(segment_lengths))
        return forward(self, input_ids, segment_lengths, *rest)

    monkeypatch.setattr(SegmentEncoder, "forward", counting)
    return passes


def direct(
    model: HierBertForDocuments, documents: Sequence[SegmentedDocument]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors as the model gives them without any cache."""
    with torch.no_grad():
        output = model(**collate(list(documents)))
    return output.segment_vectors, output.sentence_vectors


def same(
    given: tuple[torch.Tensor, torch.Tensor], expected: tuple[torch.Tensor, torch.Tensor]
) -> bool:
    return all(
        one.dtype == torch.float32 and torch.allclose(one, other, atol=1e-5, rtol=1e-5)
        for one, other in zip(given, expected, strict=True)
    )


def make_entries(counts: list[tuple[int, int]], dtype: torch.dtype = torch.float32) -> list[Entry]:
    return [
        Entry(
            number.to_bytes(16, "big"),
            torch.full((segments, 3), 0.1 + number).to(dtype),
            torch.arange(sentences * 3.0).view(-1, 3).to(dtype) - number,
        )
        for number, (segments, sentences) in enumerate(counts)
    ]


def equal(one: Entry, other: Entry) -> bool:
    pairs = (
        (one.segment_vectors, other.segment_vectors),
        (one.sentence_vectors, other.sentence_vectors),
    )
    return one.key == other.key and all(a.dtype == b.dtype and a.equal(b) for a, b in pairs)


def reopened(folder: Path) -> VectorStore:
    store = VectorStore(folder)
    store.refresh()
    return store


def vector_files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.safetensors"))


# The files.


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 5), st.sampled_from(["float32", "float16"])),
        max_size=8,
    ),
    st.integers(1, 4),
)
def test_what_was_added_comes_back(tmp_path_factory, sizes, per_file) -> None:
    folder = tmp_path_factory.mktemp("store")
    entries = []
    for number, (segments, sentences, dtype) in enumerate(sizes):
        made = make_entries([(segments, sentences)], getattr(torch, dtype))[0]
        entries.append(Entry(bytes([number] * 16), made.segment_vectors, made.sentence_vectors))
    store = VectorStore(folder)
    for first in range(0, len(entries), per_file):
        store.add(entries[first : first + per_file])
    for there in (store, reopened(folder)):
        assert there.find([entry.key for entry in entries]) == {entry.key for entry in entries}
        assert all(equal(there.get(entry.key), entry) for entry in entries)
        assert there.find([b"another document"]) == set()
        with pytest.raises(KeyError):
            there.get(b"another document")


ENTRIES = make_entries([(1, 2), (2, 0), (1, 3)])


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_removed_and_made_anew(tmp_path_factory, part) -> None:
    folder = tmp_path_factory.mktemp("cut")
    (path,) = VectorStore(folder).add(ENTRIES)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    store = reopened(folder)
    assert store.find([entry.key for entry in ENTRIES]) == set()
    assert not path.exists()
    assert store.add(ENTRIES) == [path]
    assert path.read_bytes() == whole
    assert all(equal(store.get(entry.key), entry) for entry in ENTRIES)


def test_no_flipped_bit_gives_other_vectors(tmp_path) -> None:
    (path,) = VectorStore(tmp_path).add(ENTRIES)
    whole = path.read_bytes()
    lost = 0
    for place in range(len(whole)):
        path.unlink(missing_ok=True)
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        store = reopened(tmp_path)
        for entry in ENTRIES:
            try:
                assert equal(store.get(entry.key), entry), place
            except KeyError:
                lost += 1
    # Blanks of the header and the names of keys no one asks for may change unseen.
    assert lost > len(whole) / 2


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"not vectors at all", None])
def test_what_is_no_file_of_vectors_is_passed_over(tmp_path, capsys, content) -> None:
    entry = make_entries([(2, 2)])[0]
    VectorStore(tmp_path).add([entry])
    path = tmp_path / "0000.safetensors"
    if content is None:
        save_file({"weight": torch.zeros(3)}, path)
    else:
        path.write_bytes(content)
    (tmp_path / "folder.safetensors").mkdir()
    store = reopened(tmp_path)
    assert equal(store.get(entry.key), entry)
    said = capsys.readouterr().err
    assert f"{path} is damaged" in said and "folder.safetensors cannot be read" in said
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("counts", torch.tensor([[1, 2], [2, 0], [1, 4]])),
        ("counts", torch.tensor([[5, 2], [-2, 0], [1, 3]])),
        ("keys", torch.zeros(3, 8, dtype=torch.uint8)),
        ("segment_vectors", torch.zeros(4, 3, dtype=torch.int32)),
    ],
)
def test_an_index_that_does_not_fit_is_told_when_a_file_is_opened(
    tmp_path, capsys, name, value
) -> None:
    (path,) = VectorStore(tmp_path).add(ENTRIES)
    tensors = {**{key: value.clone() for key, value in load_file(path).items()}, name: value}
    path.unlink()
    save_file(tensors, path)
    assert reopened(tmp_path).find([entry.key for entry in ENTRIES]) == set()
    assert f"{path} is damaged" in capsys.readouterr().err and not path.exists()


def test_a_file_that_was_removed_stays_readable_for_who_has_opened_it(tmp_path) -> None:
    (path,) = VectorStore(tmp_path).add(ENTRIES)
    reader = reopened(tmp_path)
    path.unlink()
    assert all(equal(reader.get(entry.key), entry) for entry in ENTRIES)


def test_a_file_that_vanishes_while_the_folder_is_read(tmp_path, monkeypatch) -> None:
    (first,) = VectorStore(tmp_path).add(ENTRIES[:1])
    (second,) = VectorStore(tmp_path).add(ENTRIES[1:])
    opened = VectorStore.open

    def removing(self: VectorStore, path: Path) -> bool:
        first.unlink(missing_ok=True)
        return opened(self, path)

    monkeypatch.setattr(VectorStore, "open", removing)
    assert set(reopened(tmp_path)._files) == {second.name}


def test_many_small_files_become_one_and_readers_go_on(tmp_path) -> None:
    entries = make_entries([(1, number % 3) for number in range(150)])
    writer = VectorStore(tmp_path)
    reader = None
    for number, entry in enumerate(entries):
        writer.add([entry])
        writer.merge_small_files()
        if number == 60:
            reader = reopened(tmp_path)
    assert reader is not None
    assert 1 < len(vector_files(tmp_path)) < 64
    for store, count in ((writer, 150), (reopened(tmp_path), 150), (reader, 61)):
        assert all(equal(store.get(entry.key), entry) for entry in entries[:count])
    reader.refresh()
    assert all(equal(reader.get(entry.key), entry) for entry in entries)


# The limit.


def old_file(root: Path, name: str, size_bytes: int, used_at: float) -> Path:
    path = root / "vectors-of-another-encoder" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size_bytes)
    os.utime(path, (used_at, used_at))
    return path


def test_what_was_not_used_for_longest_goes_first(tmp_path) -> None:
    files = [old_file(tmp_path, f"{n}.safetensors", 100, LONG_AGO + n) for n in (2, 0, 1)]
    (tmp_path / "sentence-labels-0.json").write_text("[]" * 1000)
    assert used_bytes(tmp_path) == 300
    assert make_room(tmp_path, 100, 400, LONG_AGO + 9) == 100
    assert all(path.exists() for path in files)
    assert make_room(tmp_path, 150, 400, LONG_AGO + 9) == 200
    assert [path.exists() for path in files] == [True, False, True]
    # What is in use stays, and there is less room than wanted.
    assert make_room(tmp_path, 400, 400, LONG_AGO + 2) == 300
    assert [path.exists() for path in files] == [True, False, False]
    assert (tmp_path / "sentence-labels-0.json").exists()


def test_what_a_killed_run_was_writing_goes_after_an_hour(tmp_path) -> None:
    now = time.time()
    abandoned = old_file(tmp_path, ".a.safetensors.x1", 100, now - 4000)
    at_work = old_file(tmp_path, ".b.safetensors.x2", 100, now - 60)
    assert make_room(tmp_path, 1, 1000, now + 10) == 900
    assert at_work.exists() and not abandoned.exists()


@pytest.mark.parametrize("kept_documents", [0, 5, 12])
def test_a_reached_limit_costs_time_and_nothing_else(
    tmp_path, model, documents, capsys, encoded, kept_documents
) -> None:
    sizes = [4 * HIDDEN * (len(d.segment_lengths) + len(d.sentence_spans)) + 40 for d in documents]
    old = old_file(tmp_path, "old.safetensors", 10_000, LONG_AGO)
    limit = sum(sizes[:kept_documents]) + 8
    options = CacheOptions(tmp_path, limit_gib=limit / 2**30)
    cache = VectorCache(options, model.hierbert)
    cache.fill(documents, Accelerator())
    said = capsys.readouterr().err
    assert not old.exists()
    assert ("reached its limit, vector_cache.limit_gib" in said) == (kept_documents < 12)
    assert (f"{12 - kept_documents} of 12 documents are not kept" in said) == (kept_documents < 12)
    encoded.clear()
    for _ in range(2):
        assert same(cache.batch(documents), direct(model, documents))
    later = VectorCache(options, model.hierbert)
    later.refresh()
    assert same(later.batch(documents), direct(model, documents))
    assert (later.found, later.encoded) == (kept_documents, 12 - kept_documents)


def test_filling_stops_at_the_limit(tmp_path, model, documents, capsys, monkeypatch) -> None:
    monkeypatch.setattr(fill, "_TOKENS_PER_BATCH", 100)
    monkeypatch.setattr(fill, "_TOKENS_PER_FILE", 100)
    cache = VectorCache(CacheOptions(tmp_path, limit_gib=1e-9), model.hierbert)
    total = sum(len(document.input_ids) for document in documents)
    assert 0 < cache.fill(documents, Accelerator()) < total / 2
    cache.batch(documents)
    assert capsys.readouterr().err.count("reached its limit") == 1


def test_a_limit_never_takes_what_the_running_job_uses(tmp_path, model, documents) -> None:
    first = VectorCache(CacheOptions(tmp_path), model.hierbert)
    first.fill(documents[:6], Accelerator())
    (used,) = vector_files(tmp_path)
    os.utime(used, (LONG_AGO, LONG_AGO))
    old = old_file(tmp_path, "old.safetensors", 100, LONG_AGO)
    limit = used.stat().st_size / 2**30
    job = VectorCache(CacheOptions(tmp_path, limit_gib=limit), model.hierbert)
    job.fill(documents, Accelerator())
    assert used.exists() and not old.exists()
    # Another job, which does not use it, takes its room.
    os.utime(used, (LONG_AGO, LONG_AGO))
    other = VectorCache(CacheOptions(tmp_path, limit_gib=limit), model.hierbert)
    other.fill(documents[6:], Accelerator())
    assert not used.exists()
    assert same(job.batch(documents), direct(model, documents))


def test_the_default_limit_is_half_of_the_free_room(tmp_path, model, monkeypatch) -> None:
    old_file(tmp_path, "old.safetensors", 1000, LONG_AGO)

    class Usage:
        free = 5000

    monkeypatch.setattr("hierbert.vectors.limit.shutil.disk_usage", lambda _: Usage)
    assert VectorCache(tmp_path, model.hierbert).limit == 3000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dtype": "int8"}, r"vector_cache\.dtype=int8 .* float32, float16"),
        ({"limit_gib": 0.0}, r"vector_cache\.limit_gib=0\.0 is not allowed: a number above 0"),
        ({"limit_gib": float("nan")}, "limit_gib=nan"),
    ],
)
def test_options_that_are_not_allowed(tmp_path, values, message) -> None:
    with pytest.raises(ConfigError, match=message):
        CacheOptions(tmp_path, **values)


# What vectors depend on.


def test_the_fingerprint_is_of_all_that_changes_vectors(encoders, tmp_path) -> None:
    model, processor = build(encoders["bert"], pooling="attention")
    base = model.hierbert
    first = encoder_fingerprint(base)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = HierBertForDocuments.from_pretrained(tmp_path).hierbert
    assert encoder_fingerprint(loaded) == first
    with torch.no_grad():  # what follows the encoder
        for weight in loaded.aggregator.parameters():
            weight.add_(1.0)
    assert encoder_fingerprint(loaded) == first
    seen = {first, encoder_fingerprint(base, "int8"), encoder_fingerprint(base.bfloat16())}
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
    assert len(seen) == 6


def test_weights_that_cannot_be_read_are_refused(model) -> None:
    class Packed(torch.nn.Module):
        def get_extra_state(self) -> object:
            return object()

        def set_extra_state(self, state: object) -> None:
            pass

    encoder = model.hierbert.segment_encoder
    encoder.packed = Packed()
    try:
        with pytest.raises(TypeError, match=r"packed.*object: no tensor"):
            encoder_fingerprint(model.hierbert)
    finally:
        del encoder.packed


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.floats(-70_000, 70_000, width=32) | st.floats(-(2.0**-12), 2.0**-12, width=32),
        min_size=1,
        max_size=20,
    )
)
def test_float16_keeps_each_number_to_its_tolerance(tmp_path_factory, numbers) -> None:
    vectors = torch.tensor(numbers)[:, None]
    kept = fill._rounded(Entry(b"k" * 16, vectors, vectors[:0]), torch.float16)
    store = VectorStore(tmp_path_factory.mktemp("half"))
    store.add([kept])
    found = store.get(kept.key).segment_vectors
    # Half of a unit in the last place: 11 bits, and 2^-24 below the smallest normal number.
    bound = torch.maximum(vectors.abs().double() * 2**-11, torch.tensor(2.0**-25))
    assert bool(((found.double() - vectors.double()).abs() <= bound).all())
    if float(vectors.abs().max()) >= 65_520:
        assert found.dtype == torch.float32 and found.equal(vectors)
    else:
        assert found.dtype == torch.float16


def test_float16_gives_the_same_found_and_encoded(tmp_path, model, documents) -> None:
    options = CacheOptions(tmp_path, dtype="float16")
    cache = VectorCache(options, model.hierbert)
    first = cache.batch(documents)
    cache.flush()
    later = VectorCache(options, model.hierbert)
    later.refresh()
    second = later.batch(documents)
    assert (later.found, later.encoded) == (len(documents), 0)
    assert all(one.equal(other) for one, other in zip(first, second, strict=True))
    exact = direct(model, documents)
    for one, other in zip(second, exact, strict=True):
        assert not torch.equal(one, other)
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    # A job that wants float32 finds none of these.
    plain = VectorCache(tmp_path, model.hierbert)
    plain.refresh()
    assert same(plain.batch(documents), exact)
    assert plain.encoded == len(documents)
    plain.flush()
    assert 0.4 < later.size_bytes() / plain.size_bytes() < 0.7


# Damage, kill -9 and other processes.


def test_damage_below_a_running_job_is_encoded_again(tmp_path, model, documents, encoded) -> None:
    first = VectorCache(tmp_path, model.hierbert)
    first.fill(documents, Accelerator())
    (path,) = vector_files(tmp_path)
    whole = bytearray(path.read_bytes())
    place = whole.index(first.batch(documents[3:4])[1][0].numpy().tobytes())
    whole[place : place + 4 * HIDDEN] = bytes(4 * HIDDEN)  # a lost page of the disk reads as zeros
    path.unlink()
    path.write_bytes(whole)
    job = VectorCache(tmp_path, model.hierbert)
    encoded.clear()
    assert job.fill(documents, Accelerator()) == 0
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


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_not_kept(tmp_path, model, documents, monkeypatch, value):
    forward = SegmentEncoder.forward

    def failing(self: SegmentEncoder, *inputs: Any) -> Any:
        segments, sentences = forward(self, *inputs)
        segments[-1, 0] = value
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
    with pytest.raises(RunError, match=r"No space left .* another folder as vector_cache\.folder"):
        VectorCache(tmp_path, model.hierbert).fill(documents, Accelerator())


WORKER = f"""
import os, signal, sys, traceback
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
import conftest, json, random
from pathlib import Path
from accelerate import Accelerator
from small_models import build
from hierbert.vectors import fill, store

encoder, killed, shared, texts = sys.argv[1:]
model, processor = build(Path(encoder))
documents = processor.segment(json.loads(Path(texts).read_text()))
accelerator = Accelerator()
fill._TOKENS_PER_BATCH, fill._TOKENS_PER_FILE = 100, 200  # many files
written = []
save = store.save_file

def killed_in_the_middle(tensors, path):
    save(tensors, path)
    written.append(path)
    if len(written) == 3:
        path.write_bytes(path.read_bytes()[:300])
        os.kill(os.getpid(), signal.SIGKILL)

def child(action):
    pid = os.fork()
    if pid:
        return pid
    try:
        action()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

def killed_run():
    store.save_file = killed_in_the_middle
    fill.VectorCache(killed, model.hierbert).fill(documents, accelerator)

ready, go = os.pipe(), os.pipe()

def one_of_three(order, limit_gib=None):
    options = fill.CacheOptions(shared, limit_gib=limit_gib)
    cache = fill.VectorCache(options, model.hierbert)
    if limit_gib:
        cache._started = float("inf")  # as if nothing in the folder were in use
    os.write(ready[1], b"r")
    os.read(go[0], 1)
    for _ in range(2):
        assert cache.fill(documents[::order], accelerator) >= 0
        found = cache.batch(documents)
        with fill.torch.no_grad():
            expected = model(**fill.collate(documents))
        for one, other in zip(found, (expected.segment_vectors, expected.sentence_vectors)):
            fill.torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)

def ends(*pids):
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]

print(ends(child(killed_run)))
# Three fill one folder; one of them has so little room that it removes files of the others.
three = [child(lambda: one_of_three(1)), child(lambda: one_of_three(-1)),
         child(lambda: one_of_three(1, 2e-5))]
for _ in three:
    os.read(ready[0], 1)
os.write(go[1], b"ggg")
print(ends(*three))
"""


@pytest.fixture(scope="module")
def after_the_worker(
    encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, list[str], list[str]]:
    """What processes left that were killed, or worked at once."""
    folder = tmp_path_factory.mktemp("worker")
    chance = random.Random(6)
    texts = [make_text(chance, chance.randint(1, 9)) for _ in range(25)]
    (folder / "worker.py").write_text(WORKER)
    (folder / "texts.json").write_text(json.dumps(texts))
    killed, shared = folder / "killed", folder / "shared"
    command = [sys.executable, folder / "worker.py", encoders["bert"], killed, shared]
    done = subprocess.run(
        [*command, folder / "texts.json"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return killed, shared, texts, [*done.stdout.split("\n")[:2], done.stderr]


def test_what_a_killed_run_has_written_is_found(after_the_worker, model, encoders) -> None:
    killed, _, texts, (code, _, _) = after_the_worker
    assert code == f"[{-signal.SIGKILL}]"
    (half,) = killed.glob("vectors-*/.*")
    assert half.stat().st_size == 300
    documents = build(encoders["bert"])[1].segment(texts)
    total = sum(len(document.input_ids) for document in documents)
    rerun = VectorCache(killed, model.hierbert)
    encoded = rerun.fill(documents, Accelerator())
    # Two files of at least 200 tokens were whole.
    assert 0 < encoded <= total - 400
    assert same(rerun.batch(documents), direct(model, documents)) and rerun.encoded == 0
    assert VectorCache(killed, model.hierbert).fill(documents, Accelerator()) == 0
    os.utime(half, (LONG_AGO, LONG_AGO))
    rerun.batch(build(encoders["bert"])[1].segment(["One more."]))
    rerun.flush()
    assert not half.exists()


def test_processes_that_fill_a_folder_at_once_all_get_the_right_vectors(
    after_the_worker, model, encoders
) -> None:
    _, shared, texts, (_, codes, stderr) = after_the_worker
    assert codes == "[0, 0, 0]", stderr[-2000:]
    assert "damaged" not in stderr
    later = VectorCache(shared, model.hierbert)
    documents = build(encoders["bert"])[1].segment(texts)
    later.refresh()
    assert same(later.batch(documents), direct(model, documents))
    assert not list(shared.glob("vectors-*/.*"))


# Inference.

TEXTS = [str(row["text"]) for row in make_rows(12, seed=9)] + ["", "One."]


@pytest.mark.parametrize("pooling", ["mean", "attention", "cls"])
def test_a_predictor_with_a_cache_answers_like_one_without(encoders, tmp_path, pooling) -> None:
    model, processor = build(encoders["bert"], pooling=pooling)
    plain = HierBertPredictor(model, processor, batch_tokens=300)
    tasks = ("classify", "summarize", "embed")
    expected = list(plain.predict(TEXTS, tasks, segment_vectors=True))
    for part in (5, len(TEXTS)):  # at first some, then the others too
        kept = HierBertPredictor(model, processor, batch_tokens=300, vector_cache=tmp_path)
        given = list(kept.predict(TEXTS[:part], tasks, segment_vectors=True))
        for one, other in zip(given, expected, strict=False):
            assert (one.label, one.summary, one.omission) == (
                other.label,
                other.summary,
                other.omission,
            )
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
            assert one.document_vector == pytest.approx(other.document_vector, abs=1e-5)
            assert one.segment_spans == other.segment_spans
            for vector, its in zip(one.segment_vectors, other.segment_vectors, strict=True):
                assert vector == pytest.approx(its, abs=1e-5)
            for sentence, its in zip(one.sentences, other.sentences, strict=True):
                assert (sentence.start, sentence.end) == (its.start, its.end)
                assert sentence.score == pytest.approx(its.score, abs=1e-4)
        assert kept.vectors is not None
    assert (kept.vectors.found, kept.vectors.encoded) == (5, len(TEXTS) - 5)


def test_another_task_or_budget_encodes_nothing(encoders, tmp_path, encoded) -> None:
    model, processor = build(encoders["bert"])
    predictor = HierBertPredictor(model, processor, vector_cache=tmp_path)
    predictor.classify(TEXTS)
    assert sum(encoded) > 0
    encoded.clear()
    predictor.summarize(TEXTS, max_sentences=2)
    predictor.embed(TEXTS[3])
    HierBertPredictor(model, processor, vector_cache=tmp_path).summarize(TEXTS, max_words=9)
    assert encoded == []
    predictor.classify(["Another one.", TEXTS[0], "Another one."])
    assert encoded == [1]


def test_what_was_encoded_is_kept_when_no_more_is_taken(encoders, tmp_path) -> None:
    model, processor = build(encoders["bert"])
    predictor = HierBertPredictor(model, processor, batch_tokens=1, vector_cache=tmp_path)
    answers = predictor.predict(TEXTS)
    next(answers)
    next(answers)
    answers.close()
    later = HierBertPredictor(model, processor, vector_cache=tmp_path)
    later.classify(TEXTS[:2])
    assert later.vectors is not None
    assert (later.vectors.found, later.vectors.encoded) == (2, 0)


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


def test_the_command_encodes_nothing_the_second_time(encoders, tmp_path, encoded, capsys) -> None:
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
    half = answer(folder, docs, tmp_path / "half.jsonl", *cache, "--cache-dtype", "float16")
    assert len(encoded) > 3
    for one, other in zip(half, plain, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=5e-3)


def test_inference_finds_what_training_has_encoded(encoders, tmp_path, encoded) -> None:
    """The same encoder before it was saved and after it was loaded is one encoder."""
    folder = save_model(tmp_path / "model", encoders["bert"])
    model, processor = build(encoders["bert"])
    VectorCache(tmp_path / "cache", model.hierbert).fill(processor.segment(TEXTS), Accelerator())
    encoded.clear()
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"text": text} for text in TEXTS])
    answer(folder, docs, tmp_path / "a.jsonl", "--cache-dir", str(tmp_path / "cache"))
    assert encoded == [1], "loading tries one word, and nothing else was encoded"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cache-dtype", "float16"], "--cache-dtype needs --cache-dir"),
        (["--cache-limit-gib", "2"], "--cache-limit-gib needs --cache-dir"),
        (["--cache-dir", "DIR", "--cache-limit-gib", "-1"], "--cache-limit-gib=-1.0 is not"),
        (["--cache-dir", "FILE/cache"], "FILE/cache cannot be written: Not a directory"),
    ],
)
def test_mistakes_of_the_command(encoders, tmp_path, capsys, flags, message) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"])
    (tmp_path / "FILE").write_text("")
    docs = write_jsonl(tmp_path / "docs.jsonl", [{"text": "One."}])
    flags = [flag.replace("FILE", f"{tmp_path}/FILE") for flag in flags]
    out = tmp_path / "out.jsonl"
    assert infer(folder, "--input", docs, "--output", out, *flags) == 2
    assert message.replace("FILE", f"{tmp_path}/FILE") in the_error(capsys)
    assert not out.exists()
