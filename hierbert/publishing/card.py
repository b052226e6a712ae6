"""The model card: what a run knows of its model, as a page with metadata for the Hub.

It invents nothing: what the run does not hold is said to be unknown, or left to the author in
lines that begin with TODO. Invariant: the same model folder and run give the same bytes, so that
pushing again without a change changes nothing.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, StrictUndefined

from hierbert.config_loading import dump_config
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.decoding import SummaryRule
from hierbert.publishing.figures import results_section
from hierbert.publishing.markdown import cell, code_block, table
from hierbert.publishing.names import is_hub_id
from hierbert.publishing.runs import Run, corpus_name, dataset_id, public_encoder, public_settings
from hierbert.publishing.snippets import snippets
from hierbert.scoring import shown_metrics

_PROBLEMS = {
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
    "regression": "regression",
}
_MOST_LABELS = 100
_NO_LENGTHS = "How long the training documents were is not known here."
_NO_RESULTS = "The run's results are not known here."
_NO_TRAINING = "How it was trained is not known here."
_NO_SPEED = "Speed and memory were not recorded in training."
# What parts of a card say that lack the run.
NOT_KNOWN = (_NO_LENGTHS, _NO_RESULTS, _NO_TRAINING, _NO_SPEED)
_LENGTHS = ("documents", "median_tokens", "p90_tokens", "longest_tokens", "tokens")


@dataclass(frozen=True)
class CardSource:
    """What a card is made of.

    Attributes:
        repo: Name of the repository, user/name.
        config: The model's configuration.
        parameters: Number of the model's weights.
        run: The run that trained it; None when nothing is known of it.
        license: Identifier of the licence; None when it is not known.
    """

    repo: str
    config: HierBertConfig
    parameters: int
    run: Run | None = None
    license: str | None = None


def render_card(source: CardSource) -> str:
    """The card as Markdown with its metadata in front.

    Args:
        source: What is known.

    Returns:
        The text, with a newline at its end.
    """
    template = files("hierbert.publishing").joinpath("card.md.jinja").read_text(encoding="utf-8")
    # The values are Markdown made here, every text of a user's in it escaped.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(template).render(
        metadata=_metadata(source).to_yaml(line_break="\n").strip(),
        title=source.repo.split("/")[1],
        summary=_summary(source),
        use=snippets(source.repo, source.config),
        labels=_labels(source) if source.config.classification else None,
        documents=_documents(source),
        results=_results(source),
        training=_training(source),
        speed=_speed(source),
        limits=_limits(source),
        licence=_licence(source),
    )


def encoder_name(config: HierBertConfig, run: Run | None) -> str:
    """The segment encoder's name, as the run or the checkpoint has it; "" where it is unknown."""
    if run is not None and run.config is not None:
        return public_encoder(run.config.model.encoder)
    return public_encoder(str(config.encoder_config._name_or_path or ""))


def base_model(config: HierBertConfig, run: Run | None) -> str | None:
    """The encoder where it is one of the Hub; None for a folder of somebody's machine."""
    given = config.encoder_config._name_or_path or ""
    if run is not None and run.config is not None:
        given = run.config.model.encoder
    return given if given and is_hub_id(given) else None


def _metadata(source: CardSource) -> ModelCardData:
    config, run = source.config, source.run
    settings = run.config if run is not None else None
    tags = ["hierbert", "long-documents", "hierarchical-transformers"]
    if config.classification:
        tags += ["document-classification", "text-classification"]
    if config.summarization:
        tags += ["document-summarization", "extractive-summarization"]
    results = _eval_results(source)
    corpus = dataset_id(settings.data.train) if settings is not None else None
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification" if config.classification else "summarization",
        tags=tags,
        license=source.license,
        base_model=base_model(config, run),
        datasets=[corpus] if corpus else None,
        metrics=sorted({result.metric_type for result in results}) or None,
        model_name=source.repo.split("/")[1] if results else None,
        eval_results=results or None,
    )


def _eval_results(source: CardSource) -> list[EvalResult]:
    """The figures as the Hub's `model-index` wants them: ROUGE by 100, the rest as they are."""
    run = source.run
    if run is None or run.results is None:
        return []
    split, scores = run.results["split"], run.results["scores"]
    spec: str | list[str] | None = None
    if run.config is not None:
        data = run.config.data
        spec = {"test": data.test, "validation": data.validation}.get(split) or data.train
    found = []
    for metric in shown_metrics(scores):
        summary = "summary" in metric.problem_types
        if metric.hub_type is not None and (source.config.summarization or not summary):
            found.append(
                EvalResult(
                    task_type="summarization" if summary else "text-classification",
                    dataset_type=dataset_id(spec) or "unpublished",
                    dataset_name=corpus_name(spec),
                    dataset_split=split,
                    metric_type=metric.hub_type,
                    metric_name=metric.title,
                    metric_value=round(
                        metric.hub_factor * scores[metric.name],
                        2 if metric.hub_factor == 100 else 4,
                    ),
                )
            )
    return found


def _summary(source: CardSource) -> str:
    config = source.config
    does = []
    if config.classification:
        kind = _PROBLEMS.get(config.problem_type or "", "single_label")
        count = f"{config.num_labels:,} labels"
        does.append(
            {
                "single_label": f"gives each document one of {count}",
                "multi_label": f"gives each document those of {count} that apply",
                "regression": "predicts a number for each document",
            }[kind]
        )
    if config.summarization:
        does.append(f"summarizes {'it' if does else 'each document'} by its own sentences")
    encoder = encoder_name(config, source.run)
    name = f"[{encoder}](https://huggingface.co/{encoder})" if base_model_of(source) else encoder
    of = f" of {name}" if name else ""
    every = "" if config.max_segments is None else _limit_words(config)
    return (
        f"This model reads whole documents, however long, and {' and '.join(does)}. Each document "
        f"is cut into segments of at most {config.segment_tokens} tokens at the ends of sentences; "
        f"the segment encoder{of} reads each of them, an aggregator lets the segments see each "
        f"other, and every answer points back to characters of the text.{every} "
        f"It has {_million(source.parameters)} weights and was trained with hierbert."
    )


def _million(count: int) -> str:
    return f"{count / 1e6:,.1f} million" if count >= 10**5 else f"{count:,}"


def base_model_of(source: CardSource) -> str | None:
    """`base_model` of a card's source."""
    return base_model(source.config, source.run)


def _limit_words(config: HierBertConfig) -> str:
    return (
        f" Of a document with more than {config.max_segments:,} segments only so many are read "
        f"({config.max_segments_policy}); each answer says what was left out."
    )


def _labels(source: CardSource) -> str:
    config = source.config
    if config.problem_type == "regression":
        return (
            f"Numbers; those of the training documents have the mean {config.label_mean:.4g} and "
            f"the standard deviation {config.label_scale:.4g}."
        )
    names = [config.id2label[number] for number in range(config.num_labels)]
    results = (source.run.results if source.run else None) or {}
    counts = results.get("label_counts")
    scored = (results.get("per_label") or {}).get("labels", [])
    supports = {row["label"]: row["support"] for row in scored}
    head = ["label"]
    head += ["training documents"] if counts else []
    head += [f"{results['split']} documents"] if supports else []
    rows = []
    for name in names[:_MOST_LABELS]:
        row = [cell(name)]
        row += [f"{counts[name]:,}" if name in counts else ""] if counts else []
        row += [f"{supports[name]:,}" if name in supports else ""] if supports else []
        rows.append(row)
    parts = [table(head, rows)]
    if len(names) > _MOST_LABELS:
        parts.append(f"And {len(names) - _MOST_LABELS:,} more, which are in `config.json`.")
    if config.problem_type == "multi_label_classification":
        parts.append(f"A label applies from a probability of {config.decision_threshold:g}.")
    return "\n\n".join(parts)


def _documents(source: CardSource) -> str:
    lengths = ((source.run.results if source.run else None) or {}).get("lengths")
    if not lengths:
        return _NO_LENGTHS
    rows = [[cell(name), *(f"{own[key]:,}" for key in _LENGTHS)] for name, own in lengths.items()]
    head = ["", "documents", "median", "90 % have at most", "longest", "all together"]
    return "Lengths in tokens of the segment encoder:\n\n" + table(head, rows)


def _results(source: CardSource) -> str:
    results = source.run.results if source.run else None
    if results is None:
        return _NO_RESULTS
    return results_section(results, source.config)


def _training(source: CardSource) -> str:
    run = source.run
    parts = []
    encoder = encoder_name(source.config, run)
    if run is not None and run.config is not None:
        settings = run.config
        training = settings.training
        if training.freeze_encoder:
            how = "was left as it is (frozen)"
        elif training.trained_encoder_layers is not None:
            how = (
                f"was trained in its last {training.trained_encoder_layers} layers, with a peak "
                f"learning rate of {training.encoder_learning_rate:g}"
            )
        else:
            how = f"was trained with a peak learning rate of {training.encoder_learning_rate:g}"
        parts.append(
            f"The segment encoder {cell(encoder)} {how}; the aggregator and the heads were trained "
            f"with a peak learning rate of {training.head_learning_rate:g}. "
            f"{training.documents_per_batch} documents a step, seed {settings.seed}."
        )
    if run is not None and run.results is not None:
        results = run.results
        environment = results.get("environment", {})
        versions = ", ".join(cell(f"{name} {value}") for name, value in environment.items())
        parts.append(
            f"{results['epochs']:,} epochs, {results['steps']:,} steps; the weights are those of "
            f"step {results['best_step']:,}, chosen on the validation documents."
            + (f" Versions: {versions}." if versions else "")
        )
    if run is not None and run.config is not None:
        text = dump_config(public_settings(run.config))
        parts.append(
            "<details><summary>All settings (config.resolved.yaml)</summary>\n\n"
            + code_block(text, "yaml")
            + "\n\n</details>"
        )
    return "\n\n".join(parts) or _NO_TRAINING


def _speed(source: CardSource) -> str:
    results = (source.run.results if source.run else None) or {}
    took = results.get("resources")
    if not took:
        return _NO_SPEED
    titles = {
        "encoding_tokens_per_second": "encoding the documents once (frozen encoder), tokens/s",
        "training_tokens_per_second": "training, tokens/s",
        "scoring_tokens_per_second": "reading and answering, tokens/s",
        "training_seconds": "training, seconds",
        "peak_memory_mib": "peak memory of the process, MiB",
        "peak_device_memory_mib": "peak memory on the device, MiB",
    }
    rows = [
        [title, f"{took[key]:,.0f}" if took[key] >= 10 else f"{took[key]:.1f}"]
        for key, title in titles.items()
        if took.get(key) is not None
    ]
    settings = source.run.config if source.run else None
    frozen = settings is not None and settings.training.freeze_encoder
    note = ""
    if frozen and took.get("encoding_tokens_per_second") is None:
        note = "\n\nThe documents had been encoded before this run; that was not measured."
    processes = f"{took['processes']} process{'es' if took['processes'] > 1 else ''}"
    threads = f"{took['threads']} thread{'s' if took['threads'] > 1 else ''} each"
    title = f"As measured in training, on {cell(took['device'])} ({processes}, {threads}):"
    return f"{title}\n\n{table(['measured', 'value'], rows)}{note}"


def _limits(source: CardSource) -> str:
    config = source.config
    lines = []
    if config.summarization:
        budget = SummaryRule.from_config(config).budget
        name = config.summary_budget.removeprefix("max_")
        limit = config.summary_limit
        shown = f"{limit:g} of its words" if budget.ratio else f"at most {limit:,.0f} {name}"
        lines.append(
            f"Summaries are extracts: sentences of the document as they stand there, by default "
            f"{shown}. They may lack what a sentence refers to."
        )
    lines.append(
        "Probabilities are the model's own and say little of documents unlike those it was "
        "trained on."
        if config.classification and config.problem_type != "regression"
        else "Answers say little of documents unlike those it was trained on."
    )
    if config.classification and config.temperature != 1:
        lines.append(
            f"The logits of labels are divided by a temperature of {config.temperature:.4g} "
            "(`temperature` in `config.json`), which changes probabilities, not their order."
        )
    lines.append(
        f"A segment is at most {config.segment_tokens} tokens; what is further apart meets only "
        "in the aggregator."
    )
    return "\n".join(f"- {line}" for line in lines)


def _licence(source: CardSource) -> str:
    base = base_model_of(source)
    if source.license is None:
        return "The licence is not known; set `license` in the metadata at the top of this page."
    origin = f", the licence of the segment encoder {base}" if base else ""
    return f"`{source.license}`{origin}. The Python files are hierbert's, Apache-2.0."


def count_parameters(shapes: Iterable[Sequence[int]]) -> int:
    """The number of weights of tensors of these shapes."""
    return sum(math.prod(shape) for shape in shapes)
