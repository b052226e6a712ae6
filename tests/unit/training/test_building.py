"""The model of a run: what its tasks ask for is all there."""

from torch import nn

from hierbert.config import RunConfig
from hierbert.model.features import FEATURES, Feature
from hierbert.model.heads import HEADS, Head
from hierbert.settings import load_config
from hierbert.tasks.task import Task
from hierbert.training.building import build_model


def test_each_task_gets_its_head_and_its_feature(encoders, monkeypatch) -> None:
    names, tasks = ["first", "second"], []
    for each in names:

        class OneHead(Head):
            name, verb, attribute, reads = each, each, f"of_{each}", frozenset([f"f_{each}"])

            def __init__(self, config) -> None:
                super().__init__()
                self.output = nn.Linear(config.hidden_size, 1)

        class OneFeature(Feature):
            name = f"f_{each}"

        class OneTask(Task):
            name = each

            def model_settings(self, config, train):
                return {"head_settings": {self.name: {}}, "features": {f"f_{self.name}": {}}}

        monkeypatch.setitem(HEADS, each, OneHead)
        monkeypatch.setitem(FEATURES, f"f_{each}", OneFeature)
        tasks.append(OneTask())
    settings = [f"model.encoder={encoders['bert']}", "data.train=a.jsonl", "data.label_column=l"]
    config = load_config(RunConfig, None, settings)
    model, _ = build_model(config, tasks, [])
    assert list(model.heads) == names
    assert list(model.features_of()) == [f"f_{name}" for name in names]
