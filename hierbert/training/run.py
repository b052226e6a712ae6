"""What a run works with, checked and made ready in the order of what it costs."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import set_seed

from hierbert.checking.short import log_findings
from hierbert.config import RunConfig
from hierbert.data.corpus import find_corpora, load_examples
from hierbert.data.document import Example
from hierbert.data.repeated import warn_of_repeated
from hierbert.files import cache_folder
from hierbert.loading.backends import check_backend, use_backend
from hierbert.log import is_first_process, log
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.tasks.corpora import columns_of, hold_out, refuse_no_texts
from hierbert.tasks.evaluation import Answer, answer_documents, check_metric
from hierbert.tasks.prepared import (
    PreparedDocument,
    log_documents,
    log_lengths,
    prepare_documents,
)
from hierbert.tasks.task import Task, learn_tasks
from hierbert.training.building import build_model
from hierbert.training.memory import bound_memory, choose_tokens_per_forward
from hierbert.training.run_folder import open_run_folder
from hierbert.training.segment_dropout import SegmentDropout
from hierbert.vectors.cache import CacheOptions, VectorCache


def load_corpora(
    config: RunConfig, given: Mapping[str, Any] | None = None
) -> tuple[dict[str, list[Example]], list[Task]]:
    """Read and check all documents of a run, and learn its tasks, at least one.

    Splits that are `given` take the place of those that the settings name. There are "train" and
    "validation", of at least one example each, and "test" where there is one.
    """
    data, columns = config.data, columns_of(config)
    specs = {role: getattr(data, role) for role in ("train", "validation", "test")}
    specs |= given or {}
    sources = find_corpora({r: spec for r, spec in specs.items() if spec is not None}, columns)
    read = {role: load_examples(found, columns, data.encoding) for role, found in sources.items()}
    train, validation, test = read["train"], read.get("validation"), read.get("test")
    refuse_no_texts(config, train)
    tasks = learn_tasks(config, train)
    for task in tasks:
        for split in (train, validation or [], test or []):
            for example in split:
                task.encode(example)
    if validation is None:
        train, validation = hold_out(config, train, tasks)
        log.info(f"validation: {len(validation):,} of the training documents, held out by the seed")
    splits = {"train": train, "validation": validation}
    if test is not None:
        splits["test"] = test
    for name, examples in splits.items():
        log_documents(name, examples, tasks)
    warn_of_repeated(splits)
    if config.check_data and is_first_process():
        log_findings(config, splits, tasks)
    return splits, tasks


@dataclass
class Run:
    """What a run works with, on every process."""

    config: RunConfig
    accelerator: Accelerator
    folder: Path
    tasks: Sequence[Task]
    model: HierBertForDocuments  # On its device and frozen as configured.
    processor: HierBertProcessor
    # Documents of "train", "validation" and, where it is given, "test".
    splits: dict[str, list[PreparedDocument]]
    vectors: VectorCache | None = None  # Of a frozen encoder; None encodes tokens in every step.
    is_continued: bool = False  # Whether it started from a hierbert model.
    # Tokens that were encoded for those vectors, and the seconds it took.
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
    check_backend(config.training.backend, "float32", accelerator.device.type == "cpu")
    set_seed(config.seed)
    model, processor = build_model(config, tasks, corpora["train"], given)
    # One that was given may have read segments by weights that are trained from here on.
    model.hierbert.segment_encoder.runtime = None
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
    # The first process converts the encoder.
    with accelerator.main_process_first():
        use_backend(settings.backend, model, processor, "float32")
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
