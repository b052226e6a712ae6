"""hierbert: classify and summarize documents longer than a model's window.

Importing it registers the model with transformers' auto classes; everything else is imported when
it is first asked for.
"""

from importlib import import_module
from typing import Any

from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.modeling_hierbert import HierBertForDocuments, HierBertModel
from hierbert.model.pipeline_hierbert import PIPELINES
from hierbert.model.processing_hierbert import HierBertProcessor

__version__ = "0.1.0"

__all__ = [
    "HierBertConfig",
    "HierBertForDocuments",
    "HierBertModel",
    "HierBertPredictor",
    "HierBertProcessor",
    "split_sentences",
]

AutoConfig.register("hierbert", HierBertConfig)
AutoModel.register(HierBertConfig, HierBertModel)
AutoModelForSequenceClassification.register(HierBertConfig, HierBertForDocuments)
AutoProcessor.register(HierBertConfig, HierBertProcessor)
for _task, _pipeline in PIPELINES.items():
    PIPELINE_REGISTRY.register_pipeline(
        _task, pipeline_class=_pipeline, pt_model=AutoModelForSequenceClassification
    )

_LAZY = {
    "HierBertPredictor": "hierbert.prediction.predictor",
    "split_sentences": "hierbert.model.sentences",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'hierbert' has no attribute {name!r}")
