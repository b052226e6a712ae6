"""Loading settings: file, overrides, defaults and Python, and what is refused by name.

What the schema of training does of this is in tests/contract/test_settings.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from hierbert.errors import ConfigError
from hierbert.settings import (
    CommandLine,
    dump_config,
    load_config,
    parse_command_line,
    setting,
)
from hierbert.settings_text import nearest_keys, write_value


@dataclass
class Training:
    epochs: int = setting(3, "Passes over the documents.", at_least=1)
    learning_rate: float = setting(2e-5, "Peak learning rate, per step.", above=0, at_most=9)
    memory: Literal["keep", "recompute"] = setting("keep", "What the backward pass keeps.")
    freeze: bool = setting(False, "Leave the encoder as it is.")
    tokens: Literal["auto"] | int | None = setting(None, "Tokens of a pass.", at_least=1)


@dataclass
class Data:
    train: str | list[str] = setting(help="Training documents.")
    text_column: str = setting("text", "Column of the document.")
    kinds: list[Literal["a", "b"]] = setting(factory=list)
    columns: dict[str, str] = setting(factory=dict, help="Columns by role.")


@dataclass
class Config:
    data: Data = setting(help="The corpus.")
    run_dir: str = setting("runs/one", "Folder of the run.")
    seed: int = setting(0, "Seed of all randomness.")
    scale: float = setting(1.0)
    training: Training = setting(factory=Training, help="How the weights are learnt.")


def load(text: str, folder: Path, *overrides: str) -> Any:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(Config, path, overrides)


def given(*overrides: str) -> Any:
    # A list is given once.
    needed = [] if any(one.startswith("data.train=") for one in overrides) else ["data.train=x"]
    return load_config(Config, None, [*needed, *overrides])


def refused(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        given(*overrides)
    return str(caught.value)


def test_a_section_may_be_empty_in_a_file_and_whole_on_the_command_line(tmp_path: Path) -> None:
    assert load("data: {train: a}\ntraining:\n", tmp_path) == Config(Data("a"))
    assert given("training={epochs: 2}", "training.memory=recompute").training == Training(
        2, memory="recompute"
    )


def test_text_is_what_is_written(tmp_path: Path) -> None:
    for written in (
        *("no", "Off", "12:30", "0123", "1e5", "2026-11-22", "0x1F", "1_0", ".inf", "true"),
        *("a:b", "C:\\x", "a=b"),
    ):
        text = f"data:\n  train: [{written}, b]\n  text_column: {written}\n"
        assert load(text, tmp_path).data == Data([written, "b"], text_column=written)
    # On the command line also what means something else in YAML.
    for written in ("*.csv", "a: b", "data # 1", "!x", "&x", "- a", "%", "@"):
        assert given(f"data.train={written}").data.train == written
    assert given("data.train=[a.csv, '*.csv']").data.train == ["a.csv", "*.csv"]
    # A glob that looks like a list says how to write it.
    hint = re.search(r"write data\.train='(.*)'$", refused("data.train=[ab]*.csv"))
    assert hint is not None and given(f"data.train={hint[1]}").data.train == "[ab]*.csv"


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("scale", "2.0e-5", 2e-5),
        ("scale", '"0.5"', 0.5),
        ("scale", "1", 1.0),
        ("scale", ".5", 0.5),
        ("scale", "-1_000.5", -1000.5),
        ("seed", '"512"', 512),
        ("seed", "1.0", 1),
        ("seed", "1e3", 1000),
        ("seed", "-7", -7),
        ("seed", "1_000", 1000),
        ("seed", "9" * 400, 10**400 - 1),
    ],
)
def test_numbers(key: str, written: str, value: Any) -> None:
    loaded = getattr(given(f"{key}={written}"), key)
    assert loaded == value and type(loaded) is type(value)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("seed", ["0123", "true", "1e30", "1e16", "9" * 5000, "٣", "[1]", "{a: 1}", ""]),
        ("scale", ["fast", ".inf", "1e999"]),
        ("training.freeze", ["yes", "1"]),
        ("training.memory", ["null"]),
        ("training.tokens", ["many", "-1"]),
        ("training.learning_rate", ["0", "9.1"]),
        ("training", ["null", ""]),
        ("data.kinds", ["[c]"]),
        ("data.columns", ["q", "[a]", "null"]),
        *((key, ["3"]) for key in ("seed.", "seed.more", "training.", "data.columns.")),
        ("data.columns.a", ["", "5", "[b]", "{b: c}"]),
    ],
)
def test_values_of_another_type_or_range_are_refused_by_name(key: str, values: list[str]) -> None:
    for value in values:
        assert key in refused(f"{key}={value}")


def test_a_mapping_is_given_whole_or_an_entry_at_a_time(tmp_path: Path) -> None:
    text = "data:\n  train: a\n  columns:\n    query: question\n    on: 'null'\n"
    columns = {"query": "question", "on": "null"}
    for overrides, expected in {
        (): columns,
        ("data.columns.query=q", "data.columns.a.b='5'"): {**columns, "query": "q", "a.b": "5"},
        ("data.columns.query=q", "data.columns={a: 1e, 'b': no}"): {"a": "1e", "b": "no"},
        ("data.columns={a: b}", "data.columns.c=d=e"): {"a": "b", "c": "d=e"},
        ("data.columns={}",): {},
    }.items():
        assert load(text, tmp_path, *overrides).data.columns == expected
    assert given("data.columns.query=q").data.columns == {"query": "q"}
    # A number is more likely a mistake than a name.
    for value in ("2024", "null", "[a]"):
        with pytest.raises(ConfigError, match=r"line 4: data\.columns\.query: expected text, got "):
            load(f"data:\n  train: a\n  columns:\n    query: {value}\n", tmp_path)
        assert "data.columns.query: expected text" in refused(f"data.columns={{query: {value}}}")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("training.seed", "did you mean seed?"),
        ("epochs", "did you mean training.epochs?"),
        ("trainig.epoch", "did you mean training.epochs?"),
        ("data.text-column", "did you mean data.text_column?"),
        ("training.zzz", "known here: training.epochs, training.learning_rate"),
        ("zzz", "known here: data, run_dir, seed, scale, training "),
    ],
)
def test_an_unknown_key_is_refused_with_what_was_meant(key: str, meant: str) -> None:
    assert refused(f"{key}=1").startswith(f"command line: unknown setting {key}; {meant}")


def test_of_keys_spelt_alike_those_of_the_section_that_was_named_are_offered() -> None:
    known = ["data.columns", "model.column"]
    assert nearest_keys("data.columm", known) == ["data.columns"]
    assert sorted(nearest_keys("columm", known)) == known


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("trainig:\n  epochs: 3\n", ["line 1", "trainig", "training", "data.train"]),
        ("training.epochs: 3\n", ["line 1", "write epochs inside the section training"]),
        (
            "training:\n  memory: recomput\n",
            ["line 2", "training.memory", "keep, recompute", "'recomput'", "mean recompute?"],
        ),
        ("data:\n  train:\n    - a\n    - null\n", ["line 4", "data.train[1]", "text", "null"]),
        ("seed:\n  a: 3\n", ["line 2", "seed", "whole number", "a mapping"]),
        (
            "data: {train: a}\nseed: 0\ntraining: {epochs: 0}\n",
            ["line 3", "training.epochs=0", "at least 1"],
        ),
        ("seed: 1\n", ["required", "data.train (text or [text, ...]: Training documents)"]),
        ("seed: 1\nseed: 2\n", ["line 2, column 1", "not plain YAML", "'seed' is given twice"]),
        ("a: 1\nb: c: d\n", ["line 2, column 5", "not plain YAML"]),
        ("run_dir: !!str 3\n", ["line 1, column 10", "tags are not read"]),
        ("run_dir: *a\n", ["aliases are not read; put text that begins with * in quotes"]),
        ("? [a]\n: b\n", ["a key must be a single word"]),
        ("seed: 1\nrun_dir: \x07\n", ["line 2", "character U+0007"]),
    ],
)
def test_a_mistake_in_a_file_names_file_line_key_value_and_what_is_allowed(
    text: str, parts: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        load(text, tmp_path)
    message = str(error.value)
    assert all(part in message for part in parts) and "\n" not in message, message
    assert "config.yaml" in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text("seed: 1\n")
    (tmp_path / "latin.yaml").write_bytes("seed: 1\nrun_dir: Käse\n".encode("latin-1"))
    for path, text in (
        (tmp_path / "quikstart.yaml", r"not found; did you mean .*quickstart\.yaml\?"),
        (tmp_path, "cannot be read: Is a directory"),
        (Path("a\0b"), "cannot be read"),
        (tmp_path / "latin.yaml", r"latin\.yaml, line 2: not UTF-8"),
    ):
        with pytest.raises(ConfigError, match=text):
            load_config(Config, path)
    (tmp_path / "marked.yaml").write_bytes("\ufeffseed: 1\r\nrun_dir: Käse\r\n".encode())
    assert load_config(Config, tmp_path / "marked.yaml", ["data.train=x"]) == Config(
        Data("x"), seed=1, run_dir="Käse"
    )


def test_a_schema_that_cannot_be_read_is_a_defect() -> None:
    @dataclass
    class Unreadable:
        name: complex = 0j

    with pytest.raises(TypeError):
        load_config(Unreadable, None)
    with pytest.raises(TypeError):
        setting(1, "A number.", least=1)


texts = st.text(max_size=12) | st.sampled_from(
    ["null", "~", "", "no", "1e5", "0123", "12:30", "a: b", "# x", "*", "\u2028", "\x85", "\ufeff"]
)
configs = st.builds(
    Config,
    data=st.builds(
        Data,
        train=texts | st.lists(texts, max_size=3),
        text_column=texts,
        columns=st.dictionaries(texts, texts, max_size=3),
    ),
    run_dir=texts,
    seed=st.integers(),
    scale=st.floats(allow_nan=False, allow_infinity=False),
    training=st.builds(
        Training,
        freeze=st.booleans(),
        tokens=st.none() | st.integers(1) | st.just("auto"),
    ),
)


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@drawn(config=configs, comments=st.booleans())
def test_what_is_written_is_read_again_as_it_was(
    config: Config, comments: bool, tmp_path: Path
) -> None:
    text = dump_config(config, comments=comments)
    assert load(text, tmp_path) == config
    # Any other YAML reader finds the same text and numbers.
    plain = yaml.safe_load(text)
    assert plain["data"]["text_column"] == config.data.text_column
    assert plain["data"]["columns"] == config.data.columns
    assert plain["scale"] == config.scale
    assert given(f"run_dir={write_value(config.run_dir)}").run_dir == config.run_dir


# The command line.


def command(*argv: str) -> CommandLine:
    flags = ("--resume", "--level LEVEL", "--help")
    return parse_command_line(argv, Config, flags)


def test_a_command_line_is_a_file_settings_and_flags() -> None:
    parsed = command("seed=1", "--config", "a.yaml", "--data.train=a=b\nc", "--resume")
    overrides = ("seed=1", "data.train=a=b\nc")
    assert parsed == CommandLine(Path("a.yaml"), overrides, frozenset(["--resume"]))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--seed", "3"], "unknown option --seed; did you mean seed=value?"),
        (["--learning-rate", "3"], "training.learning_rate=value"),
        (["--leve"], "did you mean --level?"),
        (["--bogus"], "options are --config, --resume, --level, --help"),
        (["-x=3"], "unknown option -x=3"),
        (["--config", "--resume"], "--config needs a file"),
        (["--config="], "--config needs a file"),
        (["--config=a", "--config", "b"], "given twice"),
        (["=3"], "unexpected argument"),
    ],
)
def test_arguments_that_are_refused_say_what_to_write(argv: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected)):
        command(*argv)
