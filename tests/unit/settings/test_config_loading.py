"""Loading settings: file, overrides and defaults, and what is refused by name."""

import ast
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from config_schema import Config, Data, Defaults, Stopping, Training, load

from hierbert.config_loading import load_config, setting
from hierbert.errors import ConfigError


def refusal(text: str, folder: Path, *overrides: str, schema: type = Config) -> str:
    with pytest.raises(ConfigError) as error:
        load(text, folder, *overrides, schema=schema)
    return str(error.value).replace(str(folder) + os.sep, "")


def test_file_then_overrides_then_defaults(tmp_path: Path) -> None:
    text = "data:\n  train: a.csv\nseed: 3\ntraining:\n  epochs: 5\n  memory: recompute\n"
    config = load(text, tmp_path, "seed=4", "training.epochs=6", "seed=5", "--data.text_column=t")
    assert config == Config(
        data=Data(train="a.csv", text_column="t"),
        seed=5,
        training=Training(epochs=6, memory="recompute"),
    )


def test_a_section_with_its_own_default_keeps_what_is_not_given() -> None:
    config = load_config(Defaults, None, ["training.learning_rate=1"])
    assert config.training == Training(epochs=9, learning_rate=1.0)
    assert load_config(Defaults, None) == Defaults()


@pytest.mark.parametrize(
    "written",
    ["no", "Off", "12:30", "0123", "1e5", "2026-11-22", "0x1F", "1_0", ".inf", "true", "a:b"],
)
def test_text_settings_keep_what_is_written(written: str, tmp_path: Path) -> None:
    assert load(f"data: {{train: x, text_column: {written} }}", tmp_path).data.text_column == (
        written
    )
    assert load_config(Config, None, ["data.train=x", f"data.text_column={written}"]).data == (
        Data("x", text_column=written)
    )
    assert load(f"data:\n  train: [{written}, b]\n", tmp_path).data.train == [written, "b"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-5", 1e-5),
        ("2.0e-5", 2e-5),
        ('"0.5"', 0.5),
        ("1", 1.0),
        (".5", 0.5),
        ("-1_000.5", -1000.5),
        (".inf", float("inf")),
    ],
)
def test_floats(written: str, value: float) -> None:
    loaded = load_config(Defaults, None, [f"training.learning_rate={written}"])
    assert loaded.training.learning_rate == value
    assert type(loaded.training.learning_rate) is float


@pytest.mark.parametrize(
    ("written", "value"),
    [("512", 512), ('"512"', 512), ("1.0", 1), ("1e3", 1000), ("-7", -7), ("1_000", 1000)],
)
def test_whole_numbers(written: str, value: int) -> None:
    loaded = load_config(Defaults, None, [f"seed={written}"])
    assert loaded.seed == value
    assert type(loaded.seed) is int


@pytest.mark.parametrize(
    "override",
    [
        "seed=1.5",
        "seed=0123",
        "seed=true",
        "seed=1e30",
        "seed=" + "9" * 5000,
        "seed=٣",
        "seed=[1]",
        "seed={a: 1}",
        "seed=",
        "training.freeze=yes",
        "training.freeze=1",
        "training.learning_rate=fast",
        "training.learning_rate=nan",
        "training.learning_rate=1e999",
        "training.memory=null",
        "training.task_weights=[1]",
        "training.task_weights={a: b}",
        "training.task_weights.a=b",
        "training=3",
        "training=null",
        "training=",
        "seed.=3",
        "training.=3",
        "text=null",
    ],
)
def test_values_of_another_type_are_refused_by_name(override: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(override.partition("=")[0])):
        load_config(Defaults, None, [override])


def test_unions_null_and_literals(tmp_path: Path) -> None:
    text = "data: {train: [a.csv, b.csv], label_column: null, sizes: [1, 2]}"
    config = load(text, tmp_path)
    assert config.data == Data(["a.csv", "b.csv"], sizes=(1, 2))
    assert load(text, tmp_path, "data.label_column=topic").data.label_column == "topic"
    assert load(text, tmp_path, "data.label_column=topic", "data.label_column=").data == config.data
    assert load(text, tmp_path, 'data.label_column="null"').data.label_column == "null"
    assert load(text, tmp_path, "data.label_column=''").data.label_column == ""
    assert type(load(text, tmp_path, "training.warmup=2").training.warmup) is int
    assert type(load(text, tmp_path, "training.warmup=2.0").training.warmup) is float
    # Beside numbers, quotes make text.
    assert load(text, tmp_path, "training.warmup='2'").training.warmup == "2"
    assert load(text, tmp_path, "training.warmup=auto").training.warmup == "auto"
    assert load(text, tmp_path, "run_dir=runs//two").run_dir == Path("runs/two")


def test_overrides_take_globs_and_colons_as_written() -> None:
    for written in ("*.csv", "a: b", "data # 1", "!x", "&x", "- a", "C:\\x", "a=b", "%", "@"):
        assert load_config(Config, None, [f"data.train={written}"]).data.train == written
    assert load_config(Config, None, ["data.train=[a.csv, '*.csv']"]).data.train == [
        "a.csv",
        "*.csv",
    ]


def test_a_glob_that_looks_like_a_list_says_how_to_write_it() -> None:
    with pytest.raises(ConfigError) as error:
        load_config(Config, None, ["data.train=[ab]*.csv"])
    written = re.search(r"write data\.train='(.*)'$", str(error.value))
    assert written is not None
    assert load_config(Config, None, [f"data.train={written[1]}"]).data.train == "[ab]*.csv"


def test_mappings_are_replaced_whole_and_changed_by_entry(tmp_path: Path) -> None:
    def weights(text: str, *overrides: str) -> dict[str, float]:
        return load(text, tmp_path, *overrides, schema=Defaults).training.task_weights

    text = "training: {task_weights: {labels: 3}}"
    assert weights(text) == {"labels": 3.0}
    assert weights("", "training.task_weights.labels=3") == {"labels": 3.0, "summary": 2.0}
    assert weights(text, "training.task_weights.summary=1") == {"labels": 3.0, "summary": 1.0}
    assert weights(text, "training.task_weights.a.b=1", "training.task_weights={c: 1}") == {"c": 1}
    assert Defaults().training.task_weights == {"labels": 1.0, "summary": 2.0}


def test_optional_sections(tmp_path: Path) -> None:
    def stopping(text: str, *overrides: str) -> Stopping | None:
        return load(text, tmp_path, *overrides, schema=Defaults).training.stopping

    assert stopping("") is None
    assert stopping("training: {stopping: {}}") == Stopping()
    assert stopping("training: {stopping: {patience: 5}}") == Stopping(5)
    assert stopping("training: {stopping: {patience: 5}}", "training.stopping=null") is None
    assert stopping(
        "training: {stopping: {patience: 5}}", "training.stopping=", "training.stopping.patience=7"
    ) == Stopping(7)
    reopened = ["training.stopping=null", "training.stopping.smallest_gain=1"]
    assert stopping("training: {stopping: {patience: 5}}", *reopened) == Stopping(3, 1.0)
    # All of a section commented out.
    assert load("training:\nseed: 1\n", tmp_path, schema=Defaults) == Defaults(seed=1)


def test_unknown_keys_are_refused_with_what_was_meant(tmp_path: Path) -> None:
    data = "data: {train: a}\n"
    for key, meant in [
        ("training.seed", "did you mean seed?"),
        ("epochs", "did you mean training.epochs?"),
        ("trainig.epochs", "did you mean training.epochs?"),
        ("training.epoch", "did you mean training.epochs?"),
        ("trainig.epoch", "did you mean training.epochs?"),
        ("patience", "did you mean training.stopping.patience?"),
        ("data.text-column", "did you mean data.text_column?"),
        ("training.zzz", "known here: training.epochs, training.learning_rate"),
        ("zzz", "known here: data, run_dir, seed, training "),
    ]:
        message = refusal(data, tmp_path, f"{key}=1")
        assert message.startswith(f"command line: unknown setting {key}; "), message
        assert meant in message
    assert refusal(data + "trainig:\n  epochs: 3\n", tmp_path) == (
        "config.yaml, line 2: unknown setting trainig; did you mean training or data.train?"
    )
    assert refusal(data + "training:\n  epochs: 1\n  ephocs: 3\n", tmp_path) == (
        "config.yaml, line 4: unknown setting training.ephocs; did you mean training.epochs?"
    )
    assert "write epochs inside the section training" in refusal(
        data + "training.epochs: 3\n", tmp_path
    )
    assert "seed.more: seed is one setting (whole number), with nothing inside" in refusal(
        data, tmp_path, "seed.more=3"
    )


def test_errors_name_file_line_key_value_and_what_is_allowed(tmp_path: Path) -> None:
    assert refusal("data: {train: a}\ntraining:\n  memory: recomput\n", tmp_path) == (
        "config.yaml, line 3: training.memory: expected one of keep, recompute, got 'recomput'; "
        "did you mean recompute?"
    )
    assert refusal("data:\n  train:\n    - a\n    - null\n", tmp_path) == (
        "config.yaml, line 4: data.train[1]: expected text, got null "
        '(in quotes, "null", it is text)'
    )
    assert refusal("training:\n  stopping: 3\n", tmp_path) == (
        "config.yaml, line 2: training.stopping is a section, got '3'; "
        "it takes: training.stopping.patience, training.stopping.smallest_gain"
    )
    assert refusal("seed:\n  a: 3\n", tmp_path, schema=Defaults) == (
        "config.yaml, line 2: seed: expected whole number, got a mapping"
    )


def test_missing_settings_are_all_named() -> None:
    @dataclass
    class Inner:
        size: int = setting(help="How large.")

    @dataclass
    class Outer:
        name: str
        inner: Inner

    with pytest.raises(ConfigError) as error:
        load_config(Outer, None)
    assert "name (text)" in str(error.value)
    assert "inner.size (whole number: How large)" in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1\nseed: 2\n", "line 2, column 1: not plain YAML: the key 'seed' is given twice"),
        ("training: {epochs: 1, epochs: 2}", "the key 'epochs' is given twice"),
        ("training: {task_weights: {a: 1, 'a': 2}}", "the key 'a' is given twice"),
        ("a: 1\nb: c: d\n", "line 2, column 5: not plain YAML"),
        ("text: !!python/object/apply:os.system [ls]\n", "line 1, column 7: not plain YAML: tags"),
        ("text: !!str 3\n", "tags are not read"),
        ("text: &a b\n", "anchors are not read"),
        ("text: *a\n", "aliases are not read; put text that begins with * in quotes"),
        ("a: &x [*x]\n", "anchors are not read"),
        ("? [a]\n: b\n", "a key must be a single word"),
        ("seed: 1\n--- \nseed: 2\n", "line 2, column 1: not plain YAML"),
        ("seed: 1\ntext: \x07\n", "line 2: character U+0007"),
        ('text: "\\UFFFFFFFF"\n', "not plain YAML"),
        ('text: "\\U00110000"\n', "not plain YAML"),
        ("[" * 5000, "not plain YAML"),
        ("just words\n", "line 1: a config is a list of key: value, got 'just words'"),
        ("- a\n- b\n", "got a list"),
    ],
)
def test_files_that_are_not_plain_yaml(text: str, expected: str, tmp_path: Path) -> None:
    message = refusal(text, tmp_path, schema=Defaults)
    assert message.startswith("config.yaml")
    assert expected in message
    assert "\n" not in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text("seed: 1\n")
    with pytest.raises(ConfigError, match=r"not found; did you mean .*quickstart\.yaml\?"):
        load_config(Defaults, tmp_path / "quikstart.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(Defaults, tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Defaults, Path("a\0b"))
    (tmp_path / "latin.yaml").write_bytes("seed: 1\ntext: Käse\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml, line 2: not UTF-8"):
        load_config(Defaults, tmp_path / "latin.yaml")
    (tmp_path / "marked.yaml").write_bytes("\ufeffseed: 1\r\ntext: Käse\r\n".encode())
    assert load_config(Defaults, tmp_path / "marked.yaml") == Defaults(seed=1, text="Käse")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_config(Defaults, tmp_path / "empty.yaml") == Defaults()


def test_validate_runs_depth_first_and_names_the_section() -> None:
    called: list[str] = []

    @dataclass
    class Inner:
        size: int = 1

        def validate(self) -> None:
            called.append("inner")
            if self.size < 1:
                raise ValueError(f"size is {self.size}; it must be at least 1")

    @dataclass
    class Outer:
        inner: Inner = field(default_factory=Inner)
        limit: int = 10

        def validate(self) -> None:
            called.append("outer")
            if self.inner.size > self.limit:
                raise ConfigError("inner.size is above limit")

    load_config(Outer, None)
    assert called == ["inner", "outer"]
    with pytest.raises(ConfigError, match=r"^inner: size is 0; it must be at least 1$"):
        load_config(Outer, None, ["inner.size=0"])
    with pytest.raises(ConfigError, match=r"^inner\.size is above limit$"):
        load_config(Outer, None, ["inner.size=11"])


def test_a_schema_that_cannot_be_read_is_a_defect() -> None:
    @dataclass
    class Ambiguous:
        name: str | Path = "a"

    @dataclass
    class Unreadable:
        name: complex = 0j

    for schema in (Ambiguous, Unreadable):
        with pytest.raises(TypeError):
            load_config(schema, None)


def test_the_loader_knows_no_settings_of_its_own() -> None:
    root = Path(__file__).parents[3] / "hierbert"
    for name in ("config_loading.py", "config_help.py", "config_command_line.py"):
        tree = ast.parse((root / name).read_text())
        modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        ours = {module for module in modules if module and module.startswith("hierbert")}
        assert "hierbert.config" not in ours
