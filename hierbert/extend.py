"""What a module of your own is written against: heads, tasks, features, readers and the like.

See docs/extend.md. Everything else below `hierbert` may move between versions.
"""

from hierbert.data.document import BrokenRow, Example, Row, Source
from hierbert.data.readers import READERS, Reader
from hierbert.model.features import Feature, register_feature
from hierbert.model.heads import Answered, Head, Structure, Vectors, register_head
from hierbert.model.segmentation import SegmentedDocument
from hierbert.scoring.label_baselines import LABEL_BASELINES, LabelBaseline
from hierbert.scoring.metric import METRICS, Metric, add_metrics
from hierbert.scoring.sentence_models import LabelledSentences
from hierbert.scoring.summary_baselines import SUMMARY_BASELINES, LearntBaseline, RedundantBaseline
from hierbert.scoring.vector_baselines import DocumentVectors, VectorBaseline
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Scored, Task, register_task

__all__ = [
    "LABEL_BASELINES",
    "METRICS",
    "READERS",
    "SUMMARY_BASELINES",
    "Answered",
    "BrokenRow",
    "DocumentVectors",
    "Example",
    "Feature",
    "Head",
    "LabelBaseline",
    "LabelledSentences",
    "LearntBaseline",
    "Metric",
    "PreparedDocument",
    "Reader",
    "RedundantBaseline",
    "Row",
    "Scored",
    "SegmentedDocument",
    "Source",
    "Structure",
    "Task",
    "VectorBaseline",
    "Vectors",
    "add_metrics",
    "register_feature",
    "register_head",
    "register_task",
]
