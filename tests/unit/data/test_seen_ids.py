"""The set of ids: exact, small, and verified where it ends the reading."""

import tracemalloc

import pytest
from reading import line, write

from hierbert import DataError, read_documents
from hierbert.data import seen_ids
from hierbert.data.seen_ids import SeenIds


@pytest.mark.parametrize("buckets", [16, 1 << 16])
def test_ids_are_each_found_again_however_many_share_a_bucket(monkeypatch, buckets) -> None:
    monkeypatch.setattr(seen_ids, "_BUCKETS", buckets)
    seen = SeenIds()
    texts = [f"doc-{number}" for number in range(30_000)] + ["", "\ud800", "\0", "a/b", "\0\0"]
    assert all(seen.add(text) for text in texts)
    assert not any(seen.add(text) for text in reversed(texts))
    assert all(seen.add(f"{text}x") for text in texts)
    assert not any(seen.add(text) for text in texts)


def test_ids_take_less_than_twenty_bytes_each() -> None:
    seen = SeenIds()
    tracemalloc.start()
    for number in range(400_000):
        seen.add(str(number))
    assert tracemalloc.get_traced_memory()[1] < 20 * 400_000
    tracemalloc.stop()


def test_hashes_that_touch_are_no_id(monkeypatch) -> None:
    # Two hashes side by side hold others that begin within the first: they must not be found.
    keys = {"a": b"0123456789", "b": b"abcdefghij", "between": b"56789abcde"}
    chosen = iter(keys.values())
    monkeypatch.setattr(seen_ids, "_pack", lambda *_: next(chosen))
    monkeypatch.setattr(seen_ids, "_BUCKETS", 1)
    seen = SeenIds()
    assert [seen.add(text) for text in keys] == [True, True, True]


def test_a_hash_that_two_ids_share_is_no_id_twice(tmp_path, monkeypatch) -> None:
    path = write(tmp_path / "f.jsonl", *(line("a", id=name) for name in "xyx"))
    monkeypatch.setattr(SeenIds, "add", lambda self, text: False)
    documents = read_documents(path)
    assert [next(documents).id, next(documents).id] == ["x", "y"]
    with pytest.raises(DataError, match=r"line 3: the id 'x' occurs twice, first in .*line 1;"):
        next(documents)
