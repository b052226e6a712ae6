"""The model card: what it tells, what it leaves out, and the author's words, which stay."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import ROOT
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert import HierBertConfig
from hierbert.config import RunConfig
from hierbert.publishing.card import fenced, render_card
from hierbert.publishing.card_merge import merge_cards
from hierbert.publishing.runs import Run
from hierbert.reporting.markdown import cell
from hierbert.settings import load_config

# The results of a run that never was.
RESULTS: dict[str, Any] = yaml.safe_load("""
split: test
documents: 40
epochs: 3
steps: 30
best_step: 20
scores: {accuracy: 0.9, macro_f1: 0.875, micro_f1: 0.9, weighted_f1: 0.88, loss: 0.4,
         rouge1: 0.344, rouge2: 0.097, rougeL: 0.2, rougeLsum: 0.29}
majority: {accuracy: 0.55, macro_f1: 0.35, micro_f1: 0.55, weighted_f1: 0.4}
tfidf_svm: {accuracy: 0.8, macro_f1: 0.9, micro_f1: 0.8, weighted_f1: 0.8}
gain:
  majority: {accuracy: {mean: 0.35, low: 0.1, high: 0.4, p: 0.001},
             macro_f1: {mean: 0.5, low: 0.2, high: 0.6, p: 0.001}}
  tfidf_svm: {accuracy: {mean: 0.1, low: 0.025, high: 0.2, p: 0.01},
              macro_f1: {mean: -0.025, low: -0.1, high: 0.05, p: 0.5}}
intervals: {accuracy: {low: 0.8, high: 0.975}, macro_f1: {low: 0.77, high: 0.95}}
per_label:
  labels:
    - {label: "a|b", precision: 1.0, recall: 0.75, f1: 0.857, support: 12}
    - {label: "<b>*", precision: 0.9, recall: 1.0, f1: 0.947, support: 28}
  confusion: [[9, 3], [0, 28]]
budget: {name: max_words, limit: 67.0}
label_counts: {"a|b": 1200, "<b>*": 34}
lengths:
  train: {documents: 1234, median_tokens: 5856, p90_tokens: 9001, longest_tokens: 31000,
          tokens: 7000000}
resources: {device: Some CPU, processes: 1, threads: 2, encoding_tokens_per_second: 5807.3,
            training_seconds: 63.0, peak_memory_mib: 1400.6}
environment: {hierbert: 0.1.0, torch: 2.13.0}
""")
RESULTS["summaries"] = {
    "systems": {
        name: {
            kind: {"mean": mean, "low": mean - 0.01, "high": mean + 0.02}
            for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum")
        }
        for name, mean in (("LexRank", 0.311), ("hierbert", 0.344), ("Oracle", 0.497))
    },
    "gain": {
        "LexRank": {"mean": 0.033, "low": 0.016, "high": 0.052, "p": 0.001},
        "Oracle": {"mean": -0.1, "low": -0.2, "high": -0.1, "p": 0.001},
    },
}
ROW = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
MANY = [f"label {number}" for number in range(150)]


def config_of(*names: str, **settings: Any) -> HierBertConfig:
    """The configuration of a model with these labels."""
    return HierBertConfig(
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
        **{"problem_type": "single_label_classification", **settings},
    )


CONFIG = config_of("a|b", "<b>*", summarization=True, summary_limit=67.0)
REGRESSION = HierBertConfig(
    problem_type="regression", num_labels=1, label_mean=3.25, label_scale=1.5
)


def card_of(config: HierBertConfig = CONFIG, *settings: str, **results: Any) -> str:
    """The card of a run whose settings and results differ in these."""
    folder = Path("/home/alice/secret")
    given = {
        "data.train": folder / "train.jsonl",
        "data.test": folder / "test.jsonl",
        "data.label_column": "label",
        "run_dir": folder / "x",
        **dict(setting.split("=", 1) for setting in settings),
    }
    run_config = load_config(RunConfig, None, [f"{name}={value}" for name, value in given.items()])
    run = Run(folder / "x", run_config, {**RESULTS, **results})
    return render_card("alice/demo", config, 28_600_000, run, "apache-2.0")


def bare_card() -> str:
    """A card without its run."""
    return render_card("alice/demo", CONFIG, 17_891)


# Each with lines, and parts of lines, of the card; and with what it must not tell.
CARDS: dict[str, tuple[Callable[[], str], list[str], list[str]]] = {
    "a whole run": (
        card_of,
        [
            "| a\\|b | 1,200 | 12 |\n",
            "| &lt;b&gt;\\* | 34 | 28 |\n",
            "| train | 1,234 | 5,856 | 9,001 | 31,000 | 7,000,000 |\n",
            "|  | Accuracy | Macro-F1 | Weighted F1 |\n",
            "| Majority class | 55.0 | 35.0 | 40.0 |\n",
            "| **this model** | 90.0 [80.0, 97.5] | 87.5 [77.0, 95.0] | 88.0 |\n",
            "\n- Accuracy over TF-IDF, SVM: +10.0 [+2.5, +20.0]\n",
            "\n- Macro-F1 over TF-IDF, SVM: -2.5 [-10.0, +5.0]; no sure gain\n",
            "| a\\|b | 100.0 | 75.0 | 85.7 | 12 |\n",
            "| a\\|b | 9 | 3 |\n",
            "| LexRank | 31.1 | 31.1 | 31.1 | 31.1 |\n",
            "| **this model** | 34.4 [33.4, 36.4] |",
            "- +3.3 ROUGE-1 over LexRank [+1.6, +5.2]\n",
            *("tokens/s | 5,807 |\n", "MiB | 1,401 |\n", "Some CPU (1 process, 2 threads each):\n"),
            *("\n  train: train.jsonl\n", "28.6 million weights"),
            "one of 2 labels and summarizes it by its own sentences.",
        ],
        ["over Oracle", "Micro-F1", "temperature of", "secret", "/home"],
    ),
    "a run that gained nothing over LexRank": (
        lambda: card_of(
            config_of(
                "a|b",
                "<b>*",
                summarization=True,
                features={"central_words": {}},
                sentence_weights={"central_words": 1.0},
            )
        ),
        ["by its words (LexRank): on documents that were held out, training gained nothing"],
        ["small networks"],
    ),
    "an encoder in a folder, and a temperature": (
        lambda: card_of(
            config_of("a", "b", temperature=1.75),
            "model.encoder=/home/alice/secret/bert",
            "training.cache_dir=/s",
        ),
        ["segment encoder of bert ", "a temperature of 1.75 (`temperature`"],
        ["secret", "\nbase_model", "summarize"],
    ),
    "summaries alone": (
        lambda: card_of(HierBertConfig(classification=False, summarization=True)),
        ["however long, and summarizes each document by its own sentences."],
        ["## Labels", "document-classification", "takes a question"],
    ),
    "summaries about a question": (
        lambda: card_of(
            HierBertConfig(
                classification=False,
                summarization=True,
                features={"query_words": {}},
                sentence_queries=["query_words"],
            )
        ),
        ["It takes a question", '`--query "..."`'],
        ["document-classification"],
    ),
    "no run": (
        bare_card,
        ["Not known here: the run's results", "17,891 weights", "licence is not known"],
        ["model-index", "license:", "None"],
    ),
    "an older run, scored on what chose its weights": (
        lambda: card_of(
            split="validation", resources=None, intervals=None, lengths=None, gain=None
        ),
        [
            "| **this model** | 90.0 | 87.5 | 88.0 |\n",
            *("also chose the weights", "Not known here: speed", "Not known here: how long"),
        ],
        [],
    ),
    "vectors from the cache, and nothing to score against": (
        lambda: card_of(
            CONFIG,
            "training.freeze_encoder=true",
            resources={**RESULTS["resources"], "encoding_tokens_per_second": None},
            scores={"loss": 0.0},
            summaries=None,
        ),
        [
            "| training, seconds | 63 |\n",
            *("had been encoded before this run", "had neither labels nor summaries"),
        ],
        ["| Accuracy", "**Labels**"],
    ),
    "many labels, of which several apply": (
        lambda: card_of(
            config_of(*MANY, problem_type="multi_label_classification"),
            scores={"micro_f1": 0.5, "macro_f1": 0.25, "map": 0.125, "loss": 1.0},
            per_label={"labels": [{"label": name, **ROW} for name in MANY]},
            majority={},
            tfidf_svm=None,
            gain=None,
        ),
        [
            "And 50 more, which are in `config.json`.",
            "|  | Macro-F1 | Micro-F1 | Mean average precision |\n",
            "| **this model** | 25.0 [77.0, 95.0] | 50.0 | 12.5 |\n",
            *("from a probability of 0.5.", "those of 150 labels that apply"),
        ],
        ["Confusion"],
    ),
    "numbers": (
        lambda: card_of(
            REGRESSION,
            scores={"mse": 0.5, "mae": 0.25, "r2": 0.75, "loss": 1.0},
            majority={"mse": 2.25, "mae": 1.0, "r2": 0.0},
            gain={"majority": {"mse": {"mean": -1.75, "low": -2.0, "high": -1.5, "p": 0.001}}},
            per_label=None,
            intervals={"mse": {"low": 0.4, "high": 0.625}},
        ),
        [
            *("| Mean | 2.25 | 1 | 0 |\n", "| **this model** | 0.5 [0.4, 0.625] | 0.25 | 0.75 |\n"),
            "- Mean squared error over Mean: -1.75 [-2, -1.5]\n",
            "the mean 3.25 and the standard deviation 1.5",
            "metrics:\n    - type: mse\n      value: 0.5\n",
        ],
        ["| label |"],
    ),
}


@pytest.mark.parametrize("name", CARDS)
def test_the_card_tells_what_is_known_and_invents_nothing(name) -> None:
    make, told, not_told = CARDS[name]
    card = make()
    assert [words for words in told if words not in card] == []
    assert [words for words in not_told if words in card] == []
    assert len(re.findall(r"(?m)^\*\*TODO \(author\): .*\*\*$", card)) >= 4


def test_the_metadata_are_what_the_hub_reads() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (asked,) = re.findall(r"transformers>=([\d.]+)", str(project["dependencies"]))
    assert f"`transformers` ({asked} or newer)" in card_of()
    data = ModelCard(card_of()).data
    assert (data.license, data.pipeline_tag) == ("apache-2.0", "text-classification")
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert {"hierbert", "document-classification", "document-summarization"} <= set(data.tags)
    found = {result.metric_name: result for result in data.eval_results}
    assert found["Accuracy"].metric_value == 0.9 and found["ROUGE-1"].metric_value == 34.4
    assert (found["Accuracy"].dataset_name, data.model_name) == ("test.jsonl", "demo")
    of_hub = ModelCard(card_of(CONFIG, "data.train=hub://alice/corpus", "data.test=null"))
    assert of_hub.data.datasets == ["alice/corpus"]


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=80))
def test_no_text_ends_the_fence_around_it(name: str) -> None:
    fence = fenced(f"{name}\n```\n````", "yaml").split("yaml")[0]
    assert fence == "`" * max(5, len(fence))


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=60) | st.lists(st.sampled_from([*"<>&|`[]()!#*_\\\n-~$:/ ab"])).map("".join)
)
def test_any_text_in_a_cell_is_one_line_without_a_live_sign(text) -> None:
    shown = cell(text)
    assert len(shown.splitlines()) <= 1 and "<" not in shown and ">" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`\[\]]", shown)


HOSTILE_NAMES = [
    "<script>alert(1)</script>",
    "</td></tr></table><img src=x onerror=alert(1)>",
    "<!-- /hierbert:labels -->",
    "a | b || c",
    "---\nlicense: evil\n---",
    "[click](javascript:alert(1))",
    "`code` ```\n# Title",
    "{{ 7 * 7 }} {% raw %}",
    "\ud800 half",
    "x" * 500,
    "line\u2028separator\x85and\x0bothers",
]


def test_a_page_shows_hostile_names_as_text() -> None:
    def page(names: list[str], hostile: str) -> str:
        size = len(names)
        rows = [{"label": name, **ROW} for name in names]
        return card_of(
            config_of(*names),
            per_label={"labels": rows, "confusion": [[1] * size] * size},
            label_counts=dict.fromkeys(names, 3),
            environment={hostile: hostile},
            resources={**RESULTS["resources"], "device": hostile},
            lengths={hostile: RESULTS["lengths"]["train"]},
        )

    card = page([f"{number} {name}" for number, name in enumerate(HOSTILE_NAMES)], "<script>")
    plain = page([f"l{number}" for number in range(len(HOSTILE_NAMES))], "plain")
    outside = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "", card)
    tags = [set(re.findall(r"<[^>\s]*", shown)) for shown in (outside, plain)]
    assert tags[0] <= tags[1], "no tag of HTML but the page's own"
    for mark in re.findall(r"<!-- [^>]* -->", plain):
        assert card.count(mark) == plain.count(mark)
    assert not re.search(r"(?<!\\)\]\(javascript", card), "no link"
    assert "{{ 7 \\* 7 }}" in card, "a template would have made 49 of it"
    assert "| 8 \\\\ud800 half |" in card and card.encode()
    # Tables keep their columns, and the metadata is what it is without the labels.
    for table in re.findall(r"(?m)(?:^\|.*\n)+", outside):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table
    assert yaml.safe_load(card.split("---\n")[1]) == yaml.safe_load(plain.split("---\n")[1])


# Whose words stay.

OLD = card_of()
NEW = card_of(scores={**RESULTS["scores"], "accuracy": 0.5})
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=40)


def parts(card: str) -> tuple[dict, str]:
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    return yaml.safe_load(front), body


@settings(deadline=None, max_examples=60)
@given(WORDS, WORDS, st.sampled_from(["results", "labels", "use", None]))
def test_words_of_the_author_stay_and_figures_are_renewed(first, last, taken_out) -> None:
    title = "# demo\n"
    edited = OLD.replace(title, f"{title}{first}\n", 1) + last
    expected = NEW.replace(title, f"{title}{first}\n", 1) + last
    if taken_out is not None:
        region = re.compile(rf"<!-- hierbert:{taken_out} -->.*<!-- /hierbert:{taken_out} -->", re.S)
        edited, expected = region.sub("", edited), region.sub("", expected)
    merged = merge_cards(NEW, edited).text
    assert parts(merged) == parts(expected)
    # The same again changes nothing, to the byte.
    assert merge_cards(NEW, merged).text == merged
    assert merge_cards(OLD, edited).text == edited


def test_of_the_metadata_only_the_figures_change() -> None:
    # Norwegian, an octal number and a comment: what reading and writing all of them would change.
    theirs = (
        "language: no\nlicense: mit  # asked\nversion: 010\n# The next.\nextra: { a: 1,  b: 2 }\n"
    )
    index, body = OLD.split("model-index:\n")[1].split("\n---\n", 1)
    for front in (f"{theirs}model-index:\n{index}", f"model-index:\n{index}\n\n{theirs}", theirs):
        merged = merge_cards(NEW, f"---\n{front}\n---\n{body}").text
        assert theirs in merged and merged.count("model-index:") == 1
        own = {"model-index": parts(NEW)[0]["model-index"]}
        assert parts(merged)[0] == yaml.safe_load(theirs) | own
    # What cannot be changed alone is left, and that is said.
    kept = merge_cards(NEW, f"---\n{{license: mit, language: no}}\n---\n{body}")
    assert kept.text.startswith("---\n{license: mit, language: no}\n---\n")
    assert "model-index" in kept.note and "could not be renewed" in kept.note


@pytest.mark.parametrize("opening", ["\n---\n", "\ufeff---\n", "--- \n", "\ufeff\n ---\t\n"])
def test_metadata_are_found_where_editors_leave_them(opening) -> None:
    old = opening + OLD.replace("license: apache-2.0", "license: mit").removeprefix("---\n")
    merged = merge_cards(NEW, old).text
    assert parts(merged) == parts(NEW.replace("license: apache-2.0", "license: mit"))
    for ending in ("\n", "\r\n"):
        kept = old.replace("\n", ending)
        assert merge_cards(OLD, kept).text == kept
        assert merge_cards(NEW, kept).text == merged.replace("\n", ending)
    # A page that the Hub made for a licence chosen there has no words to keep.
    only = merge_cards(OLD, f"{opening}license: mit\n---").text
    assert ModelCard(only).data.license == "mit" and "## Results" in only


def test_without_its_run_a_model_keeps_the_figures_of_its_page() -> None:
    merged = merge_cards(bare_card(), OLD)
    assert parts(merged.text)[0] == parts(OLD)[0]
    for name in ("results", "documents", "training", "speed"):
        region = re.compile(rf"<!-- hierbert:{name} -->.*<!-- /hierbert:{name} -->", re.DOTALL)
        assert region.findall(merged.text) == region.findall(OLD)
    assert "nothing new is known of documents, results" in merged.note


def test_a_licence_that_is_asked_for_is_set() -> None:
    old = OLD.replace("license: apache-2.0", "license: mit")
    merged = merge_cards(OLD, old, "cc-by-4.0")
    assert parts(merged.text) == parts(OLD.replace("license: apache-2.0", "license: cc-by-4.0"))
    assert "cc-by-4.0" in merged.note
    for card in (old.replace("license: mit\n", ""), "---\nlicense: mit\n---\n"):
        assert ModelCard(merge_cards(OLD, card, "cc-by-4.0").text).data.license == "cc-by-4.0"
    assert merge_cards(OLD, "# Mine\n", "mit").text == "---\nlicense: mit\n---\n# Mine\n"


def test_cards_that_cannot_be_merged_are_kept() -> None:
    for old in (
        "---\nlicense: mit\n---\n# Mine\n",
        "---\na: [\n---\n# Mine\n",
        "---\ndate: 2024-13-45\n---\n# Mine\n",
        # Metadata without an end.
        OLD.replace("\n---\n", "\n", 1),
    ):
        merged = merge_cards(NEW, old)
        assert merged.text == old and "kept as it is" in merged.note
    assert merge_cards(OLD, "").text == OLD
