"""The shipped configs and the help of train.py: what they show is understood, and all is named."""

import re
import shlex

import pytest
import torch
from commands import ROOT

from hierbert.cli.train import EXAMPLES, FLAGS
from hierbert.config import RunConfig
from hierbert.data.document import Example
from hierbert.settings import load_config, parse_command_line
from hierbert.settings_text import walk
from hierbert.tasks.task import learn_tasks
from hierbert.training.building import build_model

KEYS = {key for key, item in walk(RunConfig) if item.section is None}
SECTIONS = {key.partition(".")[0] for key in KEYS if "." in key}
HEADERS = {
    path.stem: "".join(re.findall(r"(?m)^#.*\n", path.read_text(encoding="utf-8")))
    for path in (ROOT / "configs").rglob("*.yaml")
}


@pytest.mark.parametrize("name", ["--help", *sorted(HEADERS)])
def test_the_commands_and_settings_that_are_shown_are_understood(name, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    text = re.sub("(?m)^# ?", "", HEADERS.get(name, EXAMPLES)).replace("\\\n", " ")
    calls = re.findall(r"(?m)^.*?\btrain\.py (.+)$", text)
    assert calls
    for call in calls:
        command = parse_command_line(shlex.split(call), RunConfig, FLAGS)
        assert command.config is not None
        if command.config.parts[0] == "configs":
            load_config(RunConfig, command.config, command.overrides)
        assert name == "--help" or command.config.stem == name
    named = re.findall(r"\b([a-z_]+\.[a-z_]+)\b(?!/)", text)
    assert {key for key in named if key.partition(".")[0] in SECTIONS} <= KEYS


@pytest.mark.parametrize(
    ("name", "segments", "tokens"),
    [
        ("ecthr_a", 64, 128),
        ("ecthr_b", 64, 128),
        ("scotus", 64, 128),
        ("hyperpartisan", None, 200),
        ("eurlex57k", 1, 512),
    ],
)
def test_published_recipes_read_a_document_as_they_say(name, segments, tokens, encoders) -> None:
    path = ROOT / "configs" / "published" / f"{name}.yaml"
    config = load_config(RunConfig, path, [f"model.encoder={encoders['bert']}"])
    several = config.data.label_type == "multi_label"
    labels = [["a", "b"], ["c"], []] if several else ["a", "b", "c"]
    parts = [f"The judge read paragraph {number} of the law." for number in range(1000)]
    text = parts[:70] if config.segmentation.list_unit == "segments" else " ".join(parts)
    examples = [Example(f"{n}", text, {"label": one}, "") for n, one in enumerate(labels)]
    model, processor = build_model(config, learn_tasks(config, examples), examples)
    lengths = processor([text])["segment_lengths"]
    assert len(lengths) == segments or (segments is None and len(lengths) > 40)
    assert lengths.max() <= tokens and (several or lengths.max() > tokens - 20)
    with torch.no_grad():
        assert model(**processor([text[:1]])).logits.shape == (1, 3)
    assert model.config.pooling == "cls" and not model.features
