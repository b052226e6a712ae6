"""The store of vectors on disk: files, their index, merging, and room in the folder."""

import os
import time
from pathlib import Path

import pytest
import torch
from conftest import make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save_file
from vectors import LONG_AGO, old_file, vector_files

from hierbert.model.segmentation import Segmenter
from hierbert.vectors.keys import document_key
from hierbert.vectors.limit import make_room, used_bytes
from hierbert.vectors.store import Entry, VectorStore


def make_entry(
    number: int, segments: int, sentences: int, dtype: torch.dtype = torch.float32
) -> Entry:
    return Entry(
        number.to_bytes(16, "big"),
        torch.full((segments, 3), 0.1 + number, dtype=dtype),
        (torch.arange(sentences * 3.0) - number).view(-1, 3).to(dtype),
    )


def equal(one: Entry, other: Entry) -> bool:
    pairs = (
        (one.segment_vectors, other.segment_vectors),
        (one.sentence_vectors, other.sentence_vectors),
    )
    return one.key == other.key and all(a.dtype == b.dtype and a.equal(b) for a, b in pairs)


def holds(store: VectorStore, entries: list[Entry]) -> bool:
    return all(equal(store.get(entry.key), entry) for entry in entries)


def reopened(folder: Path) -> VectorStore:
    store = VectorStore(folder)
    store.refresh()
    return store


ENTRIES = [make_entry(0, 1, 2), make_entry(1, 2, 0), make_entry(2, 1, 3)]


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_removed_and_made_anew(tmp_path_factory, part) -> None:
    folder = tmp_path_factory.mktemp("cut")
    (path,) = VectorStore(folder).add(ENTRIES)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    store = reopened(folder)
    assert store.find([entry.key for entry in ENTRIES]) == set() and not path.exists()
    assert store.add(ENTRIES) == [path]
    assert path.read_bytes() == whole and holds(store, ENTRIES)


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("counts", torch.tensor([[1, 2], [2, 0], [1, 4]])),
        ("counts", torch.tensor([[5, 2], [-2, 0], [1, 3]])),
        ("keys", torch.zeros(3, 8, dtype=torch.uint8)),
        ("checksums", torch.zeros(2, dtype=torch.int64)),
        ("segment_vectors", torch.zeros(4, 3, dtype=torch.int32)),
        ("checksums", None),
    ],
)
def test_what_is_no_file_of_vectors_is_removed_and_the_others_read(
    tmp_path, capsys, name, value
) -> None:
    (path,) = VectorStore(tmp_path).add(ENTRIES)
    parts = {**load(path.read_bytes()), name: value}
    path.unlink()
    save_file({name: value for name, value in parts.items() if value is not None}, path)
    entry = make_entry(0, 2, 2)
    (other,) = VectorStore(tmp_path).add([entry])
    # It comes first when the folder is read, and a folder is in the way of the rest.
    other = other.rename(tmp_path / f"{24 * '0'}.safetensors")
    (tmp_path / f"{24 * 'f'}.safetensors").mkdir()
    store = reopened(tmp_path)
    assert holds(store, [entry])
    assert store.find([entry.key for entry in ENTRIES]) == {entry.key}
    said = capsys.readouterr().err
    assert f"{path} is damaged" in said and "ffff.safetensors cannot be read" in said
    assert not path.exists() and other.exists()


def test_what_changes_after_a_file_was_read_is_seen(tmp_path) -> None:
    for damage in ("cut", "changed"):
        (path,) = VectorStore(tmp_path).add(ENTRIES)
        store = reopened(tmp_path)
        assert holds(store, ENTRIES)
        if damage == "cut":
            os.truncate(path, path.stat().st_size * 3 // 4)
        else:
            content = bytearray(path.read_bytes())
            content[len(content) * 3 // 4] ^= 1
            path.write_bytes(content)
        lost = 0
        for entry in ENTRIES:
            try:
                assert equal(store.get(entry.key), entry)
            except KeyError:
                lost += 1
        assert lost and not path.exists(), damage


def test_of_many_files_few_are_open_and_removed_ones_are_found_again_or_missing(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("hierbert.vectors.store._MOST_OPEN_FILES", 3)
    entries = [make_entry(number, 2, 3) for number in range(20)]
    before = len(os.listdir("/proc/self/fd"))
    store = VectorStore(tmp_path)
    paths = [path for entry in entries for path in store.add([entry])]
    for _ in range(2):
        assert holds(store, entries)
    assert len(os.listdir("/proc/self/fd")) == before + 3
    merged = VectorStore(tmp_path / "merged").add(entries[:10])[0]
    merged.rename(tmp_path / merged.name)
    for path in paths:
        path.unlink()
    # The newest are open still; the first are in another file now; those between are gone.
    assert holds(store, entries[17:])
    assert holds(store, entries[:10])
    for entry in entries[10:17]:
        with pytest.raises(KeyError):
            store.get(entry.key)
    del store
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_vanishes_while_the_folder_is_read(tmp_path, monkeypatch) -> None:
    (first,) = VectorStore(tmp_path).add(ENTRIES[:1])
    VectorStore(tmp_path).add(ENTRIES[1:])
    opened = VectorStore.open

    def removing(self: VectorStore, path: Path) -> None:
        first.unlink(missing_ok=True)
        opened(self, path)

    monkeypatch.setattr(VectorStore, "open", removing)
    keys = [entry.key for entry in ENTRIES]
    assert reopened(tmp_path).find(keys) == set(keys[1:])


def test_many_small_files_become_one_and_readers_go_on(tmp_path) -> None:
    entries = [
        make_entry(n, 1 + n % 2, n % 3, torch.float32 if n % 4 else torch.float16)
        for n in range(150)
    ]
    writer, reader = VectorStore(tmp_path), VectorStore(tmp_path)
    for first in range(0, 150, 2):
        # Two documents, in one file or in one for each precision.
        writer.add(entries[first : first + 2])
        writer.merge_small_files()
        if first == 60:
            reader.refresh()
    assert 1 < len(vector_files(tmp_path)) < 64
    keys = {entry.key for entry in entries}
    for store in (writer, reopened(tmp_path)):
        assert holds(store, entries)
        assert store.find([*keys, b"another document"]) == keys
    assert holds(reader, entries[:62])
    reader.refresh()
    assert holds(reader, entries)


def test_what_was_not_used_for_longest_goes_first(tmp_path) -> None:
    files = [old_file(tmp_path, f"{n:024}.safetensors", 100, LONG_AGO + n) for n in (2, 0, 1)]
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
    abandoned = old_file(tmp_path, f".{24 * 'a'}.safetensors.x1", 100, now - 4000)
    at_work = old_file(tmp_path, f".{24 * 'b'}.safetensors.x2", 100, now - 60)
    assert make_room(tmp_path, 1, 1000, now + 10) == 900
    assert at_work.exists() and not abandoned.exists()


def test_what_is_read_and_how_it_is_cut_is_in_the_key_of_a_document() -> None:
    tokenizer = make_tokenizer("bert")
    texts: list[list[str]] = [["The cat.", "A dog."], ["The", "cat. A dog."], ["The cat. A dog."]]
    # A sentence without tokens, other words, and the same in two segments.
    texts += [["The cat.", "A dog.", ""], ["The cat.", "A bird."]]
    documents = [
        *Segmenter(tokenizer)(texts),
        Segmenter(tokenizer, max_tokens_per_segment=5)(texts[:1])[0],
    ]
    assert all(one.input_ids.equal(documents[0].input_ids) for one in documents[:4])
    keys = [document_key(one) for one in documents]
    assert keys == [*map(document_key, Segmenter(tokenizer)(texts)), keys[-1]]
    assert len(set(keys)) == len(keys)
