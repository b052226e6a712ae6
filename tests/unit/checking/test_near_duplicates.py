"""Near-duplicates against sets of runs of words, compared pair by pair."""

import random
import re

import numpy as np
import pytest
from commands import write_jsonl

from hierbert.checking.checks.near_duplicates import (
    KeptRuns,
    NearDuplicates,
    runs_of,
    similar_pairs,
    sketch,
    sketched_runs,
)
from hierbert.checking.reading import look_at
from hierbert.config import RunConfig
from hierbert.model.words import word_hashes
from hierbert.settings import load_config


def text(chance: random.Random, words: int) -> list[str]:
    return [f"w{chance.choice('abcdefghij')}{chance.choice('klmnopqrst')}" for _ in range(words)]


def changed(chance: random.Random, words: list[str], share: float) -> list[str]:
    return [f"x{chance.choice('abcdefghij')}" if chance.random() < share else w for w in words]


def jaccard(a: list[str], b: list[str]) -> float:
    runs = [{tuple(one[i : i + 5]) for i in range(len(one) - 4)} for one in (a, b)]
    return len(runs[0] & runs[1]) / len(runs[0] | runs[1])


def sketches(texts: list[list[str]]) -> np.ndarray:
    return np.stack(
        [sketch(sketched_runs(word_hashes([" ".join(one)])[0].numpy())) for one in texts]
    )


def test_pairs_that_are_alike_are_found_and_no_others() -> None:
    chance = random.Random(3)
    originals = [text(chance, 30 + 20 * n) for n in range(40)]
    shares = [0.0, 0.01, 0.02, 0.1, 0.5]
    copies = [changed(chance, one, shares[n % 5]) for n, one in enumerate(originals)]
    everything = [*originals, *copies]
    found = {tuple(sorted(pair[:2])): pair[2] for pair in similar_pairs(sketches(everything))}
    for n in range(40):
        for m in range(40):
            exact = jaccard(originals[n], copies[m])
            if exact >= 0.85:
                assert (n, 40 + m) in found
            if exact < 0.45:
                assert (n, 40 + m) not in found
    assert len(found) < 40


def test_the_share_is_that_of_the_runs() -> None:
    chance = random.Random(4)
    one = text(chance, 4000)
    for share in (0.005, 0.01, 0.02):
        other = changed(chance, one, share)
        a, b = sketches([one, other])
        # Four standard deviations of a share of 64.
        assert np.mean(a == b) == pytest.approx(jaccard(one, other), abs=0.25)


def test_what_is_counted_is_the_exact_share(monkeypatch) -> None:
    chance = random.Random(7)
    # Most of the runs are beyond what is kept in memory.
    monkeypatch.setattr("hierbert.checking.checks.near_duplicates._RUNS_IN_MEMORY", 500)
    one = text(chance, 400)
    texts = [changed(chance, one, share) for share in (0.0, 0.01, 0.03, 0.06, 0.2, 1.0)]
    kept = KeptRuns()
    for own in texts:
        assert kept.add(sketched_runs(word_hashes([" ".join(own)])[0].numpy()))
    for first, a in enumerate(texts):
        for second, b in enumerate(texts):
            assert kept.share(first, second) == pytest.approx(jaccard(a, b), abs=1e-9)


def test_runs_for_which_there_is_no_room_are_refused(monkeypatch) -> None:
    monkeypatch.setattr("hierbert.checking.checks.near_duplicates._MOST_RUNS", 5)
    kept = KeptRuns()
    runs = np.arange(8, dtype=np.uint64) << np.uint64(32)
    assert [kept.add(runs[:4]), kept.add(runs[2:6]), kept.add(runs[:1])] == [True, False, True]
    assert kept.share(0, 1) == 1 / 4


def test_pairs_below_the_share_are_not_told_and_others_with_their_own(tmp_path) -> None:
    chance = random.Random(8)
    pairs, train, test = {}, [], []
    for n in range(60):
        one = text(chance, 300)
        other = changed(chance, one, 0.02 + 0.04 * n / 60)
        pairs[n] = jaccard(one, other)
        train.append({"text": " ".join(one), "label": "ab"[n % 2]})
        test.append({"text": " ".join(other), "label": "ab"[n % 2]})
    given = [
        f"data.train={write_jsonl(tmp_path / 'train.jsonl', train)}",
        "data.label_column=label",
    ]
    given.append(f"data.test={write_jsonl(tmp_path / 'test.jsonl', test)}")
    config = load_config(RunConfig, None, given)
    _, _, findings = look_at(config, checks=[NearDuplicates])
    told = [one for one in findings if "_of_" in one.name]
    # Of training some are held out for validation.
    assert sum(one.counts["documents"] for one in told) == sum(s >= 0.7 for s in pairs.values())
    for place in (place for one in told for place in one.examples):
        line, share = re.search(r"line (\d+) is (\d+) %", place).groups()
        assert int(share) == round(100 * pairs[int(line) - 1])


def test_a_corpus_of_one_template_costs_no_more_pairs_than_some_a_document() -> None:
    chance = random.Random(5)
    template = text(chance, 200)
    texts = [[*template, f"number{chance.choice('abc')}{n}"] for n in range(300)]
    found = list(similar_pairs(sketches(texts)))
    assert len({place for a, b, _ in found for place in (a, b)}) == 300
    assert len(found) < 300 * 16 * 5


def test_runs_are_equal_where_their_words_are() -> None:
    hashes = word_hashes(["a b c d e f a b c d e"])[0].numpy()
    runs = runs_of(hashes, 5)
    assert len(runs) == 7 and runs[0] == runs[6] and len(set(runs.tolist())) == 6
    assert len(runs_of(hashes[:4], 5)) == 0


def test_runs_of_numbers_make_no_two_texts_alike() -> None:
    chance = random.Random(6)
    words = [text(chance, 40) for _ in range(2)]
    tables = [[str(chance.randrange(10, 100)) for _ in range(400)] for _ in range(2)]
    kept = [
        sketched_runs(word_hashes([" ".join(own + table)])[0].numpy())
        for own, table in zip(words, tables, strict=True)
    ]
    # Of 36 runs of words, two more begin with words and end with one and two numbers.
    assert [len(runs) for runs in kept] == [38, 38]
    assert list(similar_pairs(np.stack([sketch(runs) for runs in kept]))) == []
