"""What is written loads again as it was, and any text loads or is refused in one line."""

from pathlib import Path

import pytest
import yaml
from config_schema import Config, Data, Defaults, Stopping, Training, load
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hierbert.config_help import write_value
from hierbert.config_loading import dump_config, load_config
from hierbert.errors import ConfigError

texts = st.text(max_size=12) | st.sampled_from(
    ["null", "~", "", "no", "1e5", "0123", "12:30", "a: b", "# x", "*", "\u2028", "\x85", "\ufeff"]
)
numbers = st.floats(allow_nan=False)
configs = st.builds(
    Config,
    data=st.builds(
        Data,
        train=texts | st.lists(texts, max_size=3),
        text_column=texts,
        label_column=st.none() | texts,
        columns=st.lists(texts, max_size=3),
        sizes=st.lists(st.integers(), max_size=3).map(tuple),
    ),
    run_dir=texts.filter(lambda text: text != "").map(Path),
    seed=st.integers(),
    training=st.builds(
        Training,
        epochs=st.integers(),
        learning_rate=numbers,
        memory=st.sampled_from(["keep", "recompute"]),
        freeze=st.booleans(),
        task_weights=st.dictionaries(texts, numbers, max_size=3),
        stopping=st.none() | st.builds(Stopping, st.integers(), numbers),
        warmup=st.none() | st.integers() | numbers | texts,
    ),
)
same_folder = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@same_folder
@given(config=configs, comments=st.booleans())
def test_dump_and_load_round_trip(config: Config, comments: bool, tmp_path: Path) -> None:
    text = dump_config(config, comments=comments)
    loaded = load(text, tmp_path)
    assert loaded == config
    assert type(loaded.training.warmup) is type(config.training.warmup)
    # Any other YAML reader finds the same text and numbers.
    plain = yaml.safe_load(text)
    assert plain["data"]["text_column"] == config.data.text_column
    assert plain["training"]["learning_rate"] == config.training.learning_rate


@same_folder
@given(value=texts)
def test_a_written_text_is_an_override_of_itself(value: str) -> None:
    try:
        loaded = load_config(Defaults, None, [f"text={write_value(value)}"])
    except ConfigError:
        # Characters that YAML does not allow are escaped, so none may end up here.
        pytest.fail(f"{value!r} was refused")
    assert loaded.text == value


words = ["seed", "training", "text", "epochs", "null", ": ", ", ", "- ", "? ", "  ", "---", "<<"]
signs = ["&a", "*a", "!t", "\\U", *"\n:[]{}\"'#|>%=.1"]
yaml_like = st.lists(st.sampled_from(words + signs), max_size=20).map("".join)


@same_folder
@given(text=st.text(max_size=60) | yaml_like)
def test_any_text_loads_or_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for file, overrides in (
        (path, []),
        (None, [text]),
        (None, [f"text={text}"]),
        (None, [f"training.task_weights={text}"]),
        (None, [f"training.{text}=1"]),
    ):
        try:
            load_config(Defaults, file, overrides)
        except ConfigError as error:
            assert len(str(error).splitlines()) == 1


@same_folder
@given(raw=st.binary(max_size=60))
def test_any_bytes_load_or_are_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(raw)
    try:
        load_config(Defaults, path)
    except ConfigError as error:
        assert "any.yaml" in str(error)


def test_dump_is_readable() -> None:
    config = Config(Data("data/a.csv"), training=Training(learning_rate=1e-5, freeze=True))
    assert dump_config(config) == (
        "data:\n"
        "  train: data/a.csv\n"
        "  text_column: text\n"
        "  label_column: null\n"
        "  columns: []\n"
        "  sizes: []\n"
        "\n"
        "run_dir: runs/one\n"
        "seed: 0\n"
        "\n"
        "training:\n"
        "  epochs: 3\n"
        "  learning_rate: 1.0e-5\n"
        "  memory: keep\n"
        "  freeze: true\n"
        "  task_weights: {labels: 1.0, summary: 2.0}\n"
        "  stopping: null\n"
        "  warmup: null\n"
    )
    commented = dump_config(config, comments=True)
    assert "  # Column of the label. (text or null)\n  label_column: null\n" in commented
    assert "# How the weights are learnt.\ntraining:\n" in commented
