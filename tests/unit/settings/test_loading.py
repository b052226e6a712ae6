"""Loading settings: file, overrides, defaults and Python, and what is refused by name."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_schema import Config, Data, Training, given, load
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
from hierbert.settings_text import format_help, write_value


def test_file_then_overrides_then_defaults(tmp_path: Path) -> None:
    text = "data:\n  train: a.csv\nseed: 3\ntraining:\n  epochs: 5\n  memory: recompute\n"
    config = load(text, tmp_path, "seed=4", "training.epochs=6", "seed=5", "--data.text_column=t")
    assert config == Config(
        data=Data(train="a.csv", text_column="t"),
        seed=5,
        training=Training(epochs=6, memory="recompute"),
    )
    # All of a section commented out, and a section on the command line.
    assert load("data: {train: a}\ntraining:\n", tmp_path) == Config(Data("a"))
    assert given("training={epochs: 2}", "training.memory=recompute").training == Training(
        2, memory="recompute"
    )


@pytest.mark.parametrize(
    "written",
    ["no", "Off", "12:30", "0123", "1e5", "2026-11-22", "0x1F", "1_0", ".inf", "true", "a:b"],
)
def test_text_settings_keep_what_is_written(written: str, tmp_path: Path) -> None:
    text = f"data:\n  train: [{written}, b]\n  text_column: {written}\n"
    assert load(text, tmp_path).data == Data([written, "b"], text_column=written)
    assert given(f"data.text_column={written}").data == Data("x", text_column=written)


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("scale", "1e-5", 1e-5),
        ("scale", "2.0e-5", 2e-5),
        ("scale", '"0.5"', 0.5),
        ("scale", "1", 1.0),
        ("scale", ".5", 0.5),
        ("scale", "-1_000.5", -1000.5),
        ("seed", "512", 512),
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
    "override",
    [
        *("seed=1.5", "seed=0123", "seed=true", "seed=1e30", "seed=" + "9" * 5000, "seed=٣"),
        *("seed=[1]", "seed={a: 1}", "seed=", "seed.=3", "run_dir=", "seed.more=3"),
        *("scale=fast", "scale=nan", "scale=.inf", "scale=1e999"),
        *("training.freeze=yes", "training.freeze=1", "training.memory=null"),
        *("training.tokens=many", "training.tokens=-1", "training.epochs=0"),
        *("training.learning_rate=0", "training.learning_rate=9.1"),
        *("training=3", "training=null", "training=", "training.=3"),
        *("data.kinds=[c]", "data.train=[a, [b]]"),
        *("data.columns=q", "data.columns=[a]", "data.columns=null", "data.columns.=a"),
        *("data.columns.a=", "data.columns.a=5", "data.columns.a=[b]", "data.columns.a={b: c}"),
    ],
)
def test_values_of_another_type_or_range_are_refused_by_name(override: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(override.partition("=")[0])):
        given(override)


def test_unions_null_and_choices(tmp_path: Path) -> None:
    text = "data: {train: [a.csv, b.csv], label_column: null, kinds: [b, a]}"
    config = load(text, tmp_path)
    assert config.data == Data(["a.csv", "b.csv"], kinds=["b", "a"])
    for written, value in (("topic", "topic"), ("", None), ('"null"', "null"), ("''", "")):
        assert load(text, tmp_path, f"data.label_column={written}").data.label_column == value
    for written, tokens in (("auto", "auto"), ("2", 2), ("null", None)):
        assert given(f"training.tokens={written}").training.tokens == tokens


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
    assert given().data.columns == {}


@pytest.mark.parametrize("value", ["2024", "-1.5", "null", "", "[a]", "{a: b}"])
def test_an_entry_that_is_no_text_is_refused_with_its_place(value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(f"data:\n  train: a\n  columns:\n    a: b\n    query: {value}\n", tmp_path)
    assert "config.yaml, line 5: data.columns.query: expected text, got " in str(error.value)
    with pytest.raises(ConfigError, match=r"^command line: data\.columns\.query: expected text"):
        given(f"data.columns={{query: {value}}}")


def test_overrides_take_globs_and_colons_as_written() -> None:
    for written in ("*.csv", "a: b", "data # 1", "!x", "&x", "- a", "C:\\x", "a=b", "%", "@"):
        assert given(f"data.train={written}").data.train == written
    assert given("data.train=[a.csv, '*.csv']").data.train == ["a.csv", "*.csv"]
    # A glob that looks like a list says how to write it.
    with pytest.raises(ConfigError) as error:
        given("data.train=[ab]*.csv")
    written = re.search(r"write data\.train='(.*)'$", str(error.value))
    assert written is not None
    assert given(f"data.train={written[1]}").data.train == "[ab]*.csv"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("training.seed", "did you mean seed?"),
        ("epochs", "did you mean training.epochs?"),
        ("trainig.epochs", "did you mean training.epochs?"),
        ("training.epoch", "did you mean training.epochs?"),
        ("trainig.epoch", "did you mean training.epochs?"),
        ("data.text-column", "did you mean data.text_column?"),
        ("training.zzz", "known here: training.epochs, training.learning_rate"),
        ("zzz", "known here: data, run_dir, seed, scale, training "),
    ],
)
def test_an_unknown_key_is_refused_with_what_was_meant(key: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(meant)) as error:
        given(f"{key}=1")
    assert str(error.value).startswith(f"command line: unknown setting {key}; ")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("trainig:\n  epochs: 3\n", ["line 1", "trainig", "training", "data.train"]),
        ("training:\n  epochs: 1\n  ephocs: 3\n", ["line 3", "ephocs", "training.epochs?"]),
        ("training.epochs: 3\n", ["line 1", "write epochs inside the section training"]),
        (
            "training:\n  memory: recomput\n",
            ["line 2", "training.memory", "keep, recompute", "'recomput'", "mean recompute?"],
        ),
        ("data:\n  train:\n    - a\n    - null\n", ["line 4", "data.train[1]", "text", "null"]),
        ("training: 3\n", ["line 1", "training is a section", "'3'", "training.epochs"]),
        ("seed:\n  a: 3\n", ["line 2", "seed", "whole number", "a mapping"]),
        (
            "data: {train: a}\nseed: 0\ntraining: {epochs: 0}\n",
            ["line 3", "training.epochs=0", "at least 1"],
        ),
        ("seed: 1\n", ["required", "data.train (text or [text, ...]: Training documents)"]),
        ("data: {train: a, label_column: text}", ["data.text_column", "data.label_column"]),
        ("seed: 1\nseed: 2\n", ["line 2, column 1", "not plain YAML", "'seed' is given twice"]),
        ("a: 1\nb: c: d\n", ["line 2, column 5", "not plain YAML"]),
        ("run_dir: !!str 3\n", ["line 1, column 10", "tags are not read"]),
        ("run_dir: &a b\n", ["anchors are not read"]),
        ("run_dir: *a\n", ["aliases are not read; put text that begins with * in quotes"]),
        ("? [a]\n: b\n", ["a key must be a single word"]),
        ("seed: 1\n--- \nseed: 2\n", ["line 2, column 1", "not plain YAML"]),
        ("seed: 1\nrun_dir: \x07\n", ["line 2", "character U+0007"]),
        ('run_dir: "\\UFFFFFFFF"\n', ["not plain YAML"]),
        ("just words\n", ["line 1", "a list of key: value", "'just words'"]),
        ("- a\n- b\n", ["got a list"]),
    ],
)
def test_a_mistake_in_a_file_names_file_line_key_value_and_what_is_allowed(
    text: str, parts: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        load(text, tmp_path)
    message = str(error.value)
    assert all(part in message for part in parts) and "\n" not in message, message
    assert "config.yaml" in message or "data.label_column" in message


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


# What is written loads again as it was, and any text loads or is refused in one line.

texts = st.text(max_size=12) | st.sampled_from(
    ["null", "~", "", "no", "1e5", "0123", "12:30", "a: b", "# x", "*", "\u2028", "\x85", "\ufeff"]
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
configs = st.builds(
    Config,
    data=st.builds(
        Data,
        train=texts | st.lists(texts, max_size=3),
        text_column=texts,
        kinds=st.lists(st.sampled_from(["a", "b"]), max_size=3),
        columns=st.dictionaries(texts, texts, max_size=3),
    ),
    run_dir=texts,
    seed=st.integers(),
    scale=numbers,
    training=st.builds(
        Training,
        epochs=st.integers(1),
        learning_rate=st.floats(1e-300, 9),
        memory=st.sampled_from(["keep", "recompute"]),
        freeze=st.booleans(),
        tokens=st.none() | st.integers(1) | st.just("auto"),
    ),
)
same_folder = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@same_folder
@drawn(config=configs, comments=st.booleans())
def test_dump_and_load_round_trip(config: Config, comments: bool, tmp_path: Path) -> None:
    text = dump_config(config, comments=comments)
    assert load(text, tmp_path) == config
    # Any other YAML reader finds the same text and numbers.
    plain = yaml.safe_load(text)
    assert plain["data"]["text_column"] == config.data.text_column
    assert plain["data"]["columns"] == config.data.columns
    assert plain["scale"] == config.scale


@same_folder
@drawn(value=texts)
def test_a_written_text_is_an_override_of_itself(value: str) -> None:
    assert given(f"run_dir={write_value(value)}").run_dir == value


def test_dump_is_readable() -> None:
    config = Config(Data("data/a.csv"), training=Training(learning_rate=1e-5, freeze=True))
    text = dump_config(config)
    assert text.startswith(
        "data:\n  train: data/a.csv\n  text_column: text\n  label_column: null\n"
    )
    assert "  columns: {}\n\nrun_dir: runs/one\nseed: 0\nscale: 1.0\n\ntraining:\n" in text
    assert text.endswith(
        "  learning_rate: 1.0e-5\n  memory: keep\n  freeze: true\n  tokens: null\n"
    )
    commented = dump_config(config, comments=True)
    assert "  # Column of the label. (text or null)\n  label_column: null\n" in commented
    assert "# How the weights are learnt.\ntraining:\n" in commented


# The command line.


FLAGS = {"--resume": "Go on with a run.", "--level LEVEL": "What is written.", "--help": "Help."}


def command(*argv: str) -> CommandLine:
    return parse_command_line(argv, Config, FLAGS)


def test_command_line() -> None:
    parsed = command("seed=1", "--config", "a.yaml", "--training.epochs=2", "--resume")
    overrides = ("seed=1", "training.epochs=2")
    assert parsed == CommandLine(Path("a.yaml"), overrides, frozenset(["--resume"]))
    assert command("--config=b.yaml").config == Path("b.yaml")
    assert command() == CommandLine(None, (), frozenset())
    assert command("data.train=a=b\nc").overrides == ("data.train=a=b\nc",)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--seed", "3"], "unknown option --seed; did you mean seed=value?"),
        (["--learning-rate", "3"], "training.learning_rate=value"),
        (["--epochs", "seed=3"], "training.epochs=value"),
        (["--resum"], "did you mean --resume?"),
        (["--leve"], "did you mean --level?"),
        (["--bogus"], "options are --config, --resume, --level, --help"),
        (["-x=3"], "unknown option -x=3"),
        (["a.yaml"], "a config file is given as --config a.yaml"),
        (["--config"], "--config needs a file"),
        (["--config", "--resume"], "--config needs a file"),
        (["--config="], "--config needs a file"),
        (["--config=a", "--config", "b"], "given twice"),
        (["--resume=true"], "--resume takes no value"),
        (["=3"], "unexpected argument"),
        (["--"], "unknown option"),
    ],
)
def test_arguments_that_are_refused_say_what_to_write(argv: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected)):
        command(*argv)


def test_help_teaches() -> None:
    text = format_help(Config, "Trains a model.", "example:\n  it", "train.py", FLAGS)
    # What it does, then examples, then options, then settings by section.
    marks = ["usage: train.py", "Trains a model.", "example:\n  it", "--resume", "Go on with a run"]
    marks += ["run_dir  (text; default runs/one)", "data.train  (text or [text, ...]; required)"]
    marks += ["data.columns  ({name: text, ...}; default {})"]
    marks += ["training: How the weights are learnt.", "epochs  (whole number, at least 1; default"]
    marks += ["learning_rate  (number, above 0, at most 9; default 2.0e-5)"]
    marks += ["training.memory  (one of keep, recompute; default keep)"]
    place = 0
    for mark in marks:
        place = text.index(mark, place)
    assert max(map(len, text.splitlines())) <= 100
