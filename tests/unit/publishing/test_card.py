"""The model card: what it tells, what it leaves out, and the author's words, which stay."""

import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from cards import CONFIG, RESULTS, card_of, config_of
from commands import ROOT
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert import HierBertConfig
from hierbert.publishing.card import cell, fenced, render_card
from hierbert.publishing.card_merge import merge_cards

NAMES = [f"label {number}" for number in range(150)]
ROW = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 1}
MANY = {
    "scores": {"micro_f1": 0.5, "macro_f1": 0.25, "map": 0.125, "loss": 1.0},
    "per_label": {"labels": [{"label": name, **ROW} for name in NAMES]},
    "majority": {},
}
NUMBERS = {
    "scores": {"mse": 0.5, "mae": 0.25, "r2": 0.75, "pearson": 0.9, "spearman": 0.8, "loss": 1.0},
    "majority": {"mse": 2.25, "mae": 1.0, "r2": 0.0},
    "per_label": None,
    "intervals": {"mse": {"low": 0.4, "high": 0.625}},
}
REGRESSION = HierBertConfig(
    problem_type="regression", num_labels=1, label_mean=3.25, label_scale=1.5
)
CACHED = {**RESULTS["resources"], "encoding_tokens_per_second": None}


def bare_card() -> str:
    """A card without its run."""
    return render_card("alice/demo", CONFIG, 17_891)


def results(**changes: Any) -> dict[str, Any]:
    return {**RESULTS, **changes}


# Each with lines, and parts of lines, of the card; and with what it must not tell.
CARDS: dict[str, tuple[Callable[[], str], list[str], list[str]]] = {
    "a whole run": (
        card_of,
        [
            "| a\\|b | 1,200 | 12 |\n",
            "| &lt;b&gt;\\* | 34 | 28 |\n",
            "| train | 1,234 | 5,856 | 9,001 | 31,000 | 7,000,000 |\n",
            "| Accuracy | 90.0 | 80.0 to 97.5 | 55.0 |\n",
            "| Macro-F1 | 87.5 | 77.0 to 95.0 | 35.0 |\n",
            "| a\\|b | 100.0 | 75.0 | 85.7 | 12 |\n",
            "| a\\|b | 9 | 3 |\n",
            "| LexRank | 31.1 | 31.1 | 31.1 | 31.1 |\n",
            "| **this model** | 34.4 [33.4, 36.4] |",
            "| Oracle | 49.7 | 49.7 | 49.7 | 49.7 |\n",
            "- +3.3 ROUGE-1 over LexRank [+1.6, +5.2]\n",
            *("tokens/s | 5,807 |\n", "MiB | 1,401 |\n", "Some CPU (1 process, 2 threads each):\n"),
            *("\n  train: train.jsonl\n", "28.6 million weights"),
            "one of 2 labels and summarizes it by its own sentences.",
        ],
        ["over Oracle", "Micro-F1", "temperature of", "secret", "/home"],
    ),
    "an encoder in a folder": (
        lambda: card_of(
            RESULTS, CONFIG, "model.encoder=/home/alice/secret/bert", "training.cache_dir=/s"
        ),
        ["segment encoder of bert "],
        ["secret", "\nbase_model"],
    ),
    "summaries alone": (
        lambda: card_of(RESULTS, HierBertConfig(classification=False, summarization=True)),
        ["however long, and summarizes each document by its own sentences."],
        ["## Labels", "document-classification"],
    ),
    "a temperature": (
        lambda: card_of(RESULTS, config_of(temperature=1.75)),
        ["a temperature of 1.75 (`temperature`"],
        ["summarize"],
    ),
    "no run": (
        bare_card,
        ["Not known here: the run's results", "17,891 weights", "licence is not known"],
        ["model-index", "license:", "None"],
    ),
    "an older run": (
        lambda: card_of(results(resources=None, intervals=None, lengths=None)),
        ["| Accuracy | 90.0 |  | 55.0 |\n", "Not known here: speed"],
        [],
    ),
    "vectors from the cache": (
        lambda: card_of(results(resources=CACHED), CONFIG, "training.freeze_encoder=true"),
        ["| training, seconds | 63 |\n", "had been encoded before this run"],
        [],
    ),
    "nothing to score against": (
        lambda: card_of(results(scores={"loss": 0.0}, summaries=None)),
        ["had neither labels nor summaries"],
        ["| Accuracy"],
    ),
    "the validation documents": (
        lambda: card_of(results(split="validation")),
        ["also chose the weights"],
        [],
    ),
    "many labels, of which several apply": (
        lambda: card_of(
            results(**MANY), config_of(NAMES, problem_type="multi_label_classification")
        ),
        [
            "And 50 more, which are in `config.json`.",
            *("| Mean average precision | 12.5 |  |\n", "| Micro-F1 | 50.0 |  |\n"),
            *("from a probability of 0.5.", "those of 150 labels that apply"),
        ],
        ["Confusion"],
    ),
    "numbers": (
        lambda: card_of(results(**NUMBERS), REGRESSION),
        [
            "| Mean squared error | 0.5 | 0.4 to 0.625 | 2.25 |\n",
            "the mean 3.25 and the standard deviation 1.5",
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
    assert card == make() and card.endswith("-->\n") and "\n\n\n" not in card
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
    assert found["Accuracy"].dataset_name == "test.jsonl"
    assert found["Accuracy"].dataset_split == "test" and data.model_name == "demo"
    of_hub = ModelCard(card_of(RESULTS, CONFIG, "data.train=hub://alice/corpus", "data.test=null"))
    assert of_hub.data.datasets == ["alice/corpus"]
    assert ModelCard(CARDS["numbers"][0]()).data.eval_results[0].metric_value == 0.5


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


# Hostile names.

HOSTILE_NAMES = [
    "<script>alert(1)</script>",
    "</td></tr></table><img src=x onerror=alert(1)>",
    "<!-- /hierbert:labels -->",
    "a | b || c",
    "---\nlicense: evil\n---",
    "[click](javascript:alert(1))",
    "![x](http://evil/x.png)",
    "`code` ```\n# Title",
    "&lt;b&gt; &amp;",
    "{{ 7 * 7 }} {% raw %}",
    "\ud800 half",
    "x" * 500,
    "\u202e right to left",
    "line\u2028separator\x85and\x0bothers",
]


def test_a_page_shows_hostile_labels_as_text() -> None:
    names = [f"{number} {name}" for number, name in enumerate(HOSTILE_NAMES)]
    rows = [
        {"label": name, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2} for name in names
    ]
    size = len(names)
    results = {
        **RESULTS,
        "per_label": {"labels": rows, "confusion": [[1] * size] * size},
        "label_counts": dict.fromkeys(names, 3),
        "environment": {"<script>": "<script>", "torch": "2 | <b>"},
        "resources": {**RESULTS["resources"], "device": "<img src=x onerror=alert(1)>"},
        "lengths": {"<script>": RESULTS["lengths"]["train"]},
        "summaries": {
            **RESULTS["summaries"],
            "systems": {"<script>": RESULTS["summaries"]["systems"]["LexRank"]},
        },
    }
    card = card_of(results, config_of(names))
    plain = card_of(results, config_of([f"l{number}" for number in range(size)]))
    outside = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "", card)
    tags = [set(re.findall(r"<[^>\s]*", page)) for page in (outside, plain)]
    assert tags[0] <= tags[1], "no tag of HTML but the page's own"
    assert not any("script" in tag or "img" in tag for tag in tags[1])
    for mark in re.findall(r"<!-- [^>]* -->", plain):
        assert card.count(mark) == plain.count(mark)
    assert not re.search(r"(?<!\\)\]\((javascript|http://evil)", card), "no link"
    assert "{{ 7 \\* 7 }}" in card, "a template would have made 49 of it"
    # Tables keep their columns, and the metadata is what it is without the labels.
    for block in re.findall(r"(?m)(?:^\|.*\n)+", outside):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block
    assert yaml.safe_load(card.split("---\n")[1]) == yaml.safe_load(plain.split("---\n")[1])
    assert ModelCard(card).data.license == "apache-2.0"


# Whose words stay.

OLD = card_of()
NEW = card_of({**RESULTS, "scores": {**RESULTS["scores"], "accuracy": 0.5}})
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
    for old in (
        f"---\n{theirs}model-index:\n{index}\n---\n{body}",
        f"---\nmodel-index:\n{index}\n\n{theirs}---\n{body}",
        f"---\n{theirs}---\n{body}",
    ):
        assert merge_cards(OLD, old).text == old or "model-index" not in old
        merged = merge_cards(NEW, old).text
        assert theirs in merged and merged.count("model-index:") == 1
        assert parts(merged)[0] == {
            **yaml.safe_load(theirs),
            "model-index": parts(NEW)[0]["model-index"],
        }
    # What cannot be changed alone is left, and that is said.
    flow = f"---\n{{license: mit, language: no}}\n---\n{body}"
    kept = merge_cards(NEW, flow)
    assert kept.text.startswith("---\n{license: mit, language: no}\n---\n")
    assert "model-index" in kept.note and "could not be renewed" in kept.note


@pytest.mark.parametrize("opening", ["\n---\n", "\ufeff---\n", "--- \n", "\ufeff\n ---\t\n"])
def test_metadata_are_found_where_editors_leave_them(opening) -> None:
    old = opening + OLD.replace("license: apache-2.0", "license: mit").removeprefix("---\n")
    assert merge_cards(OLD, old).text == old
    merged = merge_cards(NEW, old).text
    assert parts(merged) == parts(NEW.replace("license: apache-2.0", "license: mit"))
    only = merge_cards(OLD, f"{opening}license: mit\n---").text
    assert ModelCard(only).data.license == "mit" and "## Results" in only
    windows = merge_cards(NEW, old.replace("\n", "\r\n")).text
    assert windows == merged.replace("\n", "\r\n")


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
    for card in (old.replace("license: mit\n", ""), "# Mine\n", "---\nlicense: mit\n---\n"):
        assert ModelCard(merge_cards(OLD, card, "cc-by-4.0").text).data.license == "cc-by-4.0"
    assert merge_cards(OLD, "# Mine\n", "mit").text == "---\nlicense: mit\n---\n# Mine\n"


def test_cards_that_cannot_be_merged_are_kept() -> None:
    body = OLD.split("\n---\n", 1)[1]
    for old in (
        "# Mine\n",
        "---\nlicense: mit\n---\n# Mine\n",
        "---\na: [\n---\n# Mine\n",
        "---\ndate: 2024-13-45\n---\n# Mine\n",
        # Metadata without an end.
        f"---\nlicense: mit\n{body}",
    ):
        merged = merge_cards(NEW, old)
        assert merged.text == old and "kept as it is" in merged.note
    assert merge_cards(OLD, "").text == OLD
    assert merge_cards(OLD, OLD.replace("\n", "\r\n")).text == OLD.replace("\n", "\r\n")
