"""Makes transformers' auto classes and pipelines know hierbert, without importing either.

The names of the classes go into transformers' own tables of names, from which it imports a class
when it is first asked for; where a table is not imported yet, its names follow right after its
import. So ``import hierbert`` costs next to nothing, and programs that never build a model never
import torch. Invariant: after ``import hierbert``, in whatever order the two are imported, the auto
classes behave as if the classes had been registered by ``AutoModel.register`` and the like.
"""

import importlib.abc
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_TYPE = "hierbert"
_CONFIG = "HierBertConfig"
_PIPELINES = ("document-classification", "document-summarization")


def register(package: ModuleType) -> None:
    """Make transformers know this package, whose attributes are the classes."""
    # Where transformers looks for the classes of the model type.
    sys.modules[f"transformers.models.{_TYPE}"] = package
    sys.meta_path.insert(0, _AfterImport())
    for name in _ACTIONS.keys() & sys.modules.keys():
        _ACTIONS[name](sys.modules[name])


def _name_config(module: ModuleType) -> None:
    module.CONFIG_MAPPING_NAMES[_TYPE] = _CONFIG


def _name_models(module: ModuleType) -> None:
    module.MODEL_MAPPING_NAMES[_TYPE] = "HierBertModel"
    module.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES[_TYPE] = "HierBertForDocuments"
    for mapping in (module.MODEL_MAPPING, module.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING):
        mapping._reverse_config_mapping[_CONFIG] = _TYPE


def _name_processor(module: ModuleType) -> None:
    module.PROCESSOR_MAPPING_NAMES[_TYPE] = "HierBertProcessor"
    module.PROCESSOR_MAPPING._reverse_config_mapping[_CONFIG] = _TYPE


def _name_pipelines(module: ModuleType) -> None:
    for task in _PIPELINES:
        module.PIPELINE_REGISTRY.supported_tasks[task] = _LazyPipeline(task)


class _LazyPipeline(dict[str, Any]):
    """What transformers keeps of a pipeline, its class imported when it is asked for."""

    def __init__(self, task: str) -> None:
        super().__init__()
        self._task = task

    def __missing__(self, key: str) -> Any:
        if key not in ("impl", "pt"):
            raise KeyError(key)
        from transformers import AutoModelForSequenceClassification

        from hierbert.model.pipeline_hierbert import PIPELINES

        pipeline = PIPELINES[self._task]
        self.update(impl=pipeline, pt=(AutoModelForSequenceClassification,))
        # By which a pipeline that is saved takes its code along.
        pipeline._registered_impl = {self._task: self}
        return self[key]


_ACTIONS: dict[str, Callable[[ModuleType], None]] = {
    "transformers.models.auto.configuration_auto": _name_config,
    "transformers.models.auto.modeling_auto": _name_models,
    "transformers.models.auto.processing_auto": _name_processor,
    "transformers.pipelines": _name_pipelines,
}


class _AfterImport(importlib.abc.MetaPathFinder):
    """Lets the other finders find, and acts on a module once it has been imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _ACTIONS:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                loader: Any = spec.loader
                loader.exec_module = partial(_execute, loader.exec_module, _ACTIONS[name])
                return spec
        return None


def _execute(own: Any, action: Callable[[ModuleType], None], module: ModuleType) -> None:
    own(module)
    action(module)
