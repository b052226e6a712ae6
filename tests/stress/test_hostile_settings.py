"""Hostile settings: any YAML and any overrides make a configuration or one line."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import ROOT, refuse, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import flat, printed_config

NEEDED = ["data.train=a.csv", "data.label_column=label"]
PLAIN = printed_config(*NEEDED)
LEAVES = sorted(PLAIN)
KEYS = [*LEAVES, *sorted({key.partition(".")[0] for key in LEAVES if "." in key})]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
LIMITS = {
    f"summary.{name}"
    for name in ("max_words", "max_sentences", "max_tokens", "max_characters", "ratio")
}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["auto", "null", "1e-5", "yes", "~", "", "!!python/object", "*.csv", "0x1f"]),
    st.sampled_from([10**400, -(10**18), 1e308, float("nan"), 2**63]),
)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=8,
)
fuzz = settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def nested(tree: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys as sections, as a file has them."""
    made: dict[str, Any] = {}
    for key, value in tree.items():
        *sections, name = str(key).split(".")
        inner = made
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                return made
        inner[name] = value
    return made


def check_loads(*arguments: str | Path) -> str | None:
    """The settings as they are printed, or None after one line that refuses them."""
    done = run("train.py", *arguments, "--print-config", here=True)
    if done.returncode == 0:
        assert isinstance(yaml.safe_load(done.stdout), dict)
        return done.stdout
    assert done.returncode == 2 and done.stdout == ""
    # What is given twice is said before.
    assert re.fullmatch(r"(warning: .*; the last one counts\n)*error: \S.*\n", done.stderr)
    return None


@fuzz
@given(tree=trees)
def test_any_tree_is_a_configuration_or_one_line(tree: Any, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    check_loads("--config", path)


@fuzz
@given(changes=st.dictionaries(st.sampled_from(KEYS), trees, min_size=1, max_size=4))
def test_a_valid_file_with_changed_values_loads_or_is_one_line(changes, tmp_path) -> None:
    path = tmp_path / "any.yaml"
    whole = {"data.train": "a.csv", "data.label_column": "label", **changes}
    path.write_text(yaml.safe_dump(nested(whole), allow_unicode=True), encoding="utf-8")
    printed = check_loads("--config", path)
    if printed is not None:
        path.write_text(printed, encoding="utf-8")
        assert check_loads("--config", path) == printed


@fuzz
@given(
    source=st.sampled_from(CONFIGS),
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4)), min_size=1, max_size=4),
)
def test_a_file_with_changed_bytes_loads_or_is_one_line(source, edits, tmp_path) -> None:
    raw = bytearray(source.read_bytes())
    for place, new in edits:
        at = int(place * len(raw))
        raw[at : at + len(new)] = new
    path = tmp_path / "any.yaml"
    path.write_bytes(raw)
    check_loads("--config", path)


@fuzz
@given(
    overrides=st.lists(
        st.tuples(st.sampled_from(KEYS) | st.text(max_size=8), scalars.map(str) | st.text())
        .map("=".join) | st.text(max_size=20),
        max_size=4,
    )
)  # fmt: skip
def test_any_overrides_are_settings_or_one_line(overrides: list[str]) -> None:
    # Of these words the command takes some for its own.
    check_loads(*NEEDED, *(one for one in overrides if not one.startswith("-")))


@fuzz
@given(key=st.sampled_from(LEAVES), value=st.text())
def test_no_text_of_one_setting_becomes_another(key: str, value: str) -> None:
    """A value is never read as a key, a line or an override of something else.

    One thing follows from another by its definition: the limit of 100 words is there where no
    other limit is.
    """
    printed = check_loads(*NEEDED, f"{key}={value}")
    if printed is not None:
        found = flat(yaml.safe_load(printed))
        own = {key, "summary.max_words"} if key in LIMITS else {key}
        assert {k for k in found if found[k] != PLAIN[k]} <= own


HOSTILE_FILES = {
    "an object of Python": "data: !!python/object/apply:os.mkdir ['{marker}']",
    "a module of Python": "data: !!python/module:antigravity",
    "a tag of its own": "data: !own {a: 1}",
    "a hundred thousand lists": "[" * 100_000,
    "laughing aliases": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]",
    "a merge": "data: {<<: {train: a}}",
    "NUL": "seed: 1\x00",
    "the class's own names": "__class__: a\n__dict__: {}",
    "a megabyte of one word": "seed: " + "9" * 1_000_000,
    "a megabyte of spaces": "seed:" + " " * 1_000_000 + "x",
    "lone surrogates": 'seed: "\\ud800"',
    "a directive": "%YAML 9.9\n---\nseed: 1",
    "only comments": "# nothing\n",
}


@pytest.mark.parametrize("case", HOSTILE_FILES)
def test_a_hostile_file_is_one_line(case, tmp_path) -> None:
    marker = tmp_path / "it-ran"
    path = tmp_path / "a.yaml"
    path.write_text(HOSTILE_FILES[case].replace("{marker}", str(marker)), "utf-8")
    line = refuse("train.py", "--config", path, here=True)
    assert str(path) in line and len(line) < 1000, line
    assert os.listdir(tmp_path) == ["a.yaml"]


@pytest.mark.parametrize(
    "override",
    [
        "data.train.__class__=x", "__class__=x", "training.__init__=x", "seed.x=1",
        "data={train: a, own: 1}", "data.train=[a, [b]]", "seed=" + "9" * 10_000,
        "training.head_learning_rate=-inf", "run_dir=\x00",
        "training.cache_dir=\x00", "seed=\x1b[2J", "data.train=\x1b[2J", "\x1b[2Jseed=1",
        "data.train=\x00", "data.train=a\x00b", "model.encoder=\x00", "publish.repo=../../x",
        "model.encoder=", "model.encoder=-", "run_dir=",
    ],
)  # fmt: skip
def test_a_hostile_override_is_one_line(override, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text('{"text": "a b", "label": "x"}\n{"text": "c", "label": "y"}\n' * 3)
    arguments = ["data.train=a.jsonl", "data.label_column=label", f"run_dir={tmp_path / 'run'}"]
    line = refuse("train.py", *arguments, override, here=True)
    assert len(line) < 1000 and not re.search("[\x00-\x08\x1b]", line), line
    assert os.listdir(tmp_path) == ["a.jsonl"]
