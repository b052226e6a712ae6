"""The model card: what a run knows of its model, as a page with metadata for the Hub.

Here are the facts; the words are in `card.md.jinja` and in the templates beside the tasks. It
invents nothing: what the run does not hold is said to be unknown, or left to the author in lines
that begin with TODO. Invariant: the same model folder and run give the same bytes, so that pushing
again without a change changes nothing.
"""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hierbert.config import RunConfig
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.publishing.runs import (
    Run,
    base_model,
    corpus_name,
    dataset_id,
    encoder_name,
    optional_results,
    public_settings,
)
from hierbert.reporting.markdown import cell
from hierbert.settings import dump_config
from hierbert.tasks import task as task_module
from hierbert.tasks.task import tasks_of_model

# The oldest that hierbert is made for, as its pyproject.toml says.
TRANSFORMERS = "5.10"
# How a part of a card begins that lacks the run.
NOT_KNOWN = "Not known here"
_MOST_LABELS = 100
_MARKER = re.compile(r"<!--(\s*/?hierbert:)")


def render_card(
    repo: str,
    config: HierBertConfig,
    parameters: int,
    run: Run | None = None,
    license: str | None = None,
) -> str:
    """The card as Markdown with its metadata in front and a newline at its end.

    What is not known of the run and the licence is None. Results that lack what every run writes,
    or hold something else in its place, raise what their template raises.
    """
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, Path(task_module.__file__).parent]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"fmt": format, "cell": cell, "fenced": fenced, "percent": _percent}
    facts = _facts(repo, config, run, license) | {"parameters": parameters}
    for task in facts["tasks"]:
        template = environment.get_template(task["template"])
        task["words"] = template.make_module({**facts, "task": task})
    return environment.get_template("card.md.jinja").render(facts)


def _facts(
    repo: str, config: HierBertConfig, run: Run | None, license: str | None
) -> dict[str, Any]:
    """What the templates word, by the names that they have for it."""
    settings, known = (run.config, run.results) if run is not None else (None, None)
    results = {"scores": {}, **dict.fromkeys(optional_results()), **(known or {})}
    tasks = [task.card(config, results) for task in tasks_of_model(config)]
    evaluated = _evaluated(tasks, settings, results)
    corpus = dataset_id(settings.data.train) if settings else None
    metadata = ModelCardData(
        library_name="transformers",
        pipeline_tag=next((task["hub_task"] for task in tasks if task["hub_task"]), None),
        tags=["hierbert", "long-documents", "hierarchical-transformers"]
        + [tag for task in tasks for tag in task["tags"]],
        license=license,
        base_model=base_model(config, run),
        datasets=[corpus] if corpus else None,
        metrics=sorted({result.metric_type for result in evaluated}) or None,
        model_name=repo.split("/")[1] if evaluated else None,
        eval_results=evaluated or None,
    )
    return {
        "repo": repo,
        "config": config,
        "license": license,
        "metadata": metadata.to_yaml(line_break="\n"),
        "encoder": encoder_name(config, run),
        "base_model": base_model(config, run),
        "settings": settings,
        "settings_text": dump_config(public_settings(settings)) if settings else None,
        "results": results if known is not None else None,
        "lengths": results["lengths"],
        "resources": results["resources"],
        "tasks": tasks,
        "transformers": TRANSFORMERS,
        "not_known": NOT_KNOWN,
        "most_labels": _MOST_LABELS,
    }


def _evaluated(
    tasks: list[dict[str, Any]], settings: RunConfig | None, results: dict[str, Any]
) -> list[EvalResult]:
    """The figures as the Hub's `model-index` wants them."""
    split, spec = results.get("split", ""), None
    if settings is not None:
        data = settings.data
        spec = {"test": data.test, "validation": data.validation}.get(split) or data.train
    return [
        EvalResult(
            task_type=task["hub_task"],
            dataset_type=dataset_id(spec) or "unpublished",
            dataset_name=corpus_name(spec),
            dataset_split=split,
            metric_type=metric.hub_type,
            metric_name=metric.title,
            metric_value=round(
                metric.hub_factor * results["scores"][metric.name],
                2 if metric.hub_factor == 100 else 4,
            ),
        )
        for task in tasks
        for metric in task["metrics"]
        if task["hub_task"] and metric.hub_type
    ]


def _percent(value: float) -> str:
    """A share x 100, with one decimal."""
    return f"{100 * value:.1f}"


def fenced(text: str, language: str) -> str:
    """A fenced block that no line of the text can end, nor the part of the card that it is in."""
    text = _MARKER.sub(r"<! --\1", text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.strip()}\n{fence}"
