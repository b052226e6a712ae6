"""hierbert: classify and summarize documents longer than a model reads at once.

Importing it makes the model known to transformers' auto classes and pipelines; everything is
imported when it is first asked for.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hierbert.registration import register

if TYPE_CHECKING:
    from hierbert.data.corpus import read_documents
    from hierbert.errors import (
        ConfigError,
        DataError,
        HierBertError,
        ModelError,
        RunError,
    )
    from hierbert.model.configuration_hierbert import HierBertConfig
    from hierbert.model.documents import Document
    from hierbert.model.modeling_hierbert import HierBertForDocuments, HierBertModel
    from hierbert.model.processing_hierbert import HierBertProcessor
    from hierbert.model.sentences import split_sentences
    from hierbert.prediction.predictor import HierBert, HierBertPredictor
    from hierbert.prediction.rewriting import Rewriter
    from hierbert.taxonomy.reading import read_taxonomy
    from hierbert.taxonomy.tree import Taxonomy
    from hierbert.training.callbacks import Callback
    from hierbert.training.trainer import HierBertTrainer

__version__ = "0.1.0"

__all__ = [
    "Callback",
    "ConfigError",
    "DataError",
    "Document",
    "HierBert",
    "HierBertConfig",
    "HierBertError",
    "HierBertForDocuments",
    "HierBertModel",
    "HierBertPredictor",
    "HierBertProcessor",
    "HierBertTrainer",
    "ModelError",
    "Rewriter",
    "RunError",
    "Taxonomy",
    "read_documents",
    "read_taxonomy",
    "split_sentences",
]

_MODULES = {
    **dict.fromkeys(
        ("ConfigError", "DataError", "HierBertError", "ModelError", "RunError"), "hierbert.errors"
    ),
    "Callback": "hierbert.training.callbacks",
    "Document": "hierbert.model.documents",
    "HierBert": "hierbert.prediction.predictor",
    "HierBertConfig": "hierbert.model.configuration_hierbert",
    "HierBertForDocuments": "hierbert.model.modeling_hierbert",
    "HierBertModel": "hierbert.model.modeling_hierbert",
    "HierBertPredictor": "hierbert.prediction.predictor",
    "HierBertProcessor": "hierbert.model.processing_hierbert",
    "HierBertTrainer": "hierbert.training.trainer",
    "Rewriter": "hierbert.prediction.rewriting",
    "Taxonomy": "hierbert.taxonomy.tree",
    "read_documents": "hierbert.data.corpus",
    "read_taxonomy": "hierbert.taxonomy.reading",
    "split_sentences": "hierbert.model.sentences",
}

register(sys.modules[__name__])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'hierbert' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
