"""What a run works with, checked and made ready in the order of what it costs."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import set_seed

from hierbert.config import RunConfig
from hierbert.data.document import Example
from hierbert.files import cache_folder
from hierbert.log import log
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.tasks.evaluation import Answer, answer_documents, check_metric
from hierbert.tasks.prepared import PreparedDocument, log_lengths, prepare_documents
from hierbert.tasks.task import Task
from hierbert.training.building import build_model
from hierbert.training.memory import bound_memory, choose_tokens_per_forward
from hierbert.training.run_folder import open_run_folder
from hierbert.training.segment_dropout import SegmentDropout
from hierbert.vectors.cache import CacheOptions, VectorCache


@dataclass
class Run:
    """What a run works with, on every process.

    Attributes:
        model: On its device and frozen as configured.
        splits: Documents of "train", "validation" and, where it is given, "test".
        vectors: Of a frozen encoder; None encodes tokens in every step.
        is_continued: Whether it started from a hierbert model.
        encoding: Tokens that were encoded for those vectors, and the seconds it took.
    """

    config: RunConfig
    accelerator: Accelerator
    folder: Path
    tasks: Sequence[Task]
    model: HierBertForDocuments
    processor: HierBertProcessor
    splits: dict[str, list[PreparedDocument]]
    vectors: VectorCache | None = None
    is_continued: bool = False
    encoding: tuple[int, float] = (0, 0.0)

    @property
    def unlearnt_vectors(self) -> VectorCache | None:
        """Vectors from which these documents' labels can be held out.

        A model that the run goes on from has perhaps learnt them: then there are none.
        """
        return None if self.is_continued else self.vectors

    @property
    def dropout(self) -> SegmentDropout:
        """What a training step reads of a document."""
        return SegmentDropout(self.config.training.segments_per_document, self.config.seed)

    def answer(
        self,
        split: str,
        description: str,
        stop: Callable[[], bool] | None = None,
        places_of: Collection[int] = (),
    ) -> list[Answer]:
        """The model's answers for a split; see `answer_documents`."""
        documents, accelerator = self.splits[split], self.accelerator
        own = self.tasks, self.vectors, description, stop, places_of
        return answer_documents(self.model, documents, accelerator, *own)


def prepare_run(
    config: RunConfig,
    accelerator: Accelerator,
    corpora: Mapping[str, Sequence[Example]],
    tasks: Sequence[Task],
    given: tuple[HierBertForDocuments, HierBertProcessor] | None,
    resume: bool,
) -> Run:
    """Make model, run folder and documents ready; with `resume` the folder may hold the run.

    A model to start from may be `given`, with its processor, else the settings name one.
    """
    check_metric(config.training.metric, tasks, corpora["validation"])
    set_seed(config.seed)
    model, processor = build_model(config, tasks, corpora["train"], given)
    for task in tasks:
        task.check(corpora, model.config)
    settings, cache = config.training, cache_folder(config.training.cache_dir)
    vectors = None
    if settings.freeze_encoder:
        # A folder that cannot be written is refused before the run has one.
        kept = CacheOptions(cache, settings.cache_dtype, settings.cache_limit_gib)
        vectors = VectorCache(kept, model.hierbert)
    folder = open_run_folder(config, accelerator, resume)
    model.to(accelerator.device)
    choose_tokens_per_forward(config, accelerator, model, folder)
    splits = {}
    for name, examples in corpora.items():
        # The first process fills the cache that the others then read.
        with accelerator.main_process_first():
            splits[name] = prepare_documents(
                examples, processor, tasks, cache, f"segmenting {name}"
            )
    log_lengths(splits, processor)
    is_continued = given is not None or config.model.start_from is not None
    run = Run(config, accelerator, folder, tasks, model, processor, splits, vectors, is_continued)
    if vectors is not None:
        began = time.monotonic()
        everything = [one.segmented for documents in splits.values() for one in documents]
        tokens = vectors.fill(everything, accelerator)
        run.encoding = tokens, time.monotonic() - began
        log.info(f"vectors: {vectors.report()}")
    train = splits["train"]
    targets = {task.name: [one.targets[task.name] for one in train] for task in tasks}
    for feature in model.features_of().values():
        if not feature.fitted:
            feature.fit([one.segmented for one in train], targets)
    bound_memory(config, accelerator, model, [run.dropout.longest(one) for one in train], folder)
    return run
