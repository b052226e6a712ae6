"""The model card: what it tells, what it leaves out, and the author's words, which stay."""

import re
import tomllib

import pytest
import yaml
from cards import CONFIG, RESULTS, card_of
from commands import ROOT
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert import HierBertConfig
from hierbert.publishing.card import CardSource, render_card
from hierbert.publishing.markdown import cell, code_block
from hierbert.publishing.merging import merge_cards


def test_the_card_tells_what_the_run_knows() -> None:
    card = card_of()
    for line in (
        "| a\\|b | 1,200 | 12 |",
        "| &lt;b&gt;\\* | 34 | 28 |",
        "| train | 1,234 | 5,856 | 9,001 | 31,000 | 7,000,000 |",
        "| Accuracy | 90.0 | 80.0 to 97.5 | 55.0 |",
        "| Macro-F1 | 87.5 | 77.0 to 95.0 | 35.0 |",
        "| a\\|b | 100.0 | 75.0 | 85.7 | 12 |",
        "| a\\|b | 9 | 3 |",
        "| LexRank | 31.1 | 31.1 | 31.1 | 31.1 |",
        "| Oracle | 49.7 | 49.7 | 49.7 | 49.7 |",
        "- +3.3 ROUGE-1 over LexRank [+1.6, +5.2]",
        "| encoding the documents once (frozen encoder), tokens/s | 5,807 |",
        "| peak memory of the process, MiB | 1,401 |",
        "As measured in training, on Some CPU (1 process, 2 threads each):",
        "  train: train.jsonl",
    ):
        assert f"\n{line}\n" in card, line
    assert "| **this model** | 34.4 [33.4, 36.4] |" in card
    assert "over Oracle" not in card and "Micro-F1" not in card
    assert len(re.findall(r"(?m)^\*\*TODO \(author\): .*\*\*$", card)) >= 4
    assert "28.6 million weights" in card
    assert card == card_of() and card.endswith("-->\n") and "\n\n\n" not in card


def test_the_card_names_no_folder_of_this_machine() -> None:
    assert "secret" not in card_of() and "/home" not in card_of()
    shown = card_of(
        RESULTS, CONFIG, "model.encoder=/home/alice/secret/bert", "training.cache_dir=/s"
    )
    assert "secret" not in shown and "\nbase_model" not in shown


def test_the_metadata_are_what_the_hub_reads() -> None:
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


def test_the_card_says_what_its_heads_do() -> None:
    alone = HierBertConfig(classification=False, summarization=True)
    assert "however long, and summarizes each document by its own sentences." in card_of(
        RESULTS, alone
    )
    both = "gives each document one of 2 labels and summarizes it by its own sentences."
    assert both in card_of() and "temperature of" not in card_of()
    sharp = HierBertConfig(
        id2label=CONFIG.id2label,
        label2id=CONFIG.label2id,
        problem_type="single_label_classification",
        temperature=1.75,
    )
    assert "divided by a temperature of 1.75 (`temperature`" in card_of(RESULTS, sharp)


def test_the_card_asks_for_the_transformers_that_hierbert_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = next(x for x in project["dependencies"] if x.startswith("transformers"))
    oldest = re.search(r">=([\d.]+)", asked)[1]
    assert f"`transformers` ({oldest} or newer)" in card_of()


def test_the_card_invents_nothing() -> None:
    empty = render_card(CardSource("alice/demo", CONFIG, 17_891))
    assert "results are not known here" in empty and "model-index" not in empty
    assert "17,891 weights" in empty and "license:" not in empty
    # An older run, before speed and intervals were recorded.
    old = {k: v for k, v in RESULTS.items() if k not in ("resources", "intervals", "lengths")}
    assert "| Accuracy | 90.0 |  | 55.0 |" in card_of(old)
    assert "were not recorded in training" in card_of(old)
    cached = {**RESULTS["resources"], "encoding_tokens_per_second": None}
    frozen = card_of({**RESULTS, "resources": cached}, CONFIG, "training.freeze_encoder=true")
    assert "| training, seconds | 63 |" in frozen and "had been encoded before this run" in frozen
    none = card_of({**RESULTS, "scores": {"loss": 0.0}, "summaries": None, "split": "validation"})
    assert "had neither labels nor summaries to score against" in none
    chosen = card_of({**RESULTS, "split": "validation"})
    assert "(which also chose the weights, so that new documents will score lower)" in chosen


def test_the_card_of_many_labels_and_of_numbers() -> None:
    names = [f"label {number}" for number in range(150)]
    config = HierBertConfig(
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
        problem_type="multi_label_classification",
    )
    scores = {"micro_f1": 0.5, "macro_f1": 0.25, "map": 0.125, "loss": 1.0}
    labels = [{"label": n, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 1} for n in names]
    results = {**RESULTS, "scores": scores, "per_label": {"labels": labels}, "majority": {}}
    card = card_of(results, config)
    assert "And 50 more, which are in `config.json`." in card
    assert "| Mean average precision | 12.5 |  |" in card and "| Micro-F1 | 50.0 |  |" in card
    assert "A label applies from a probability of 0.5." in card and "Confusion" not in card
    numbers = HierBertConfig(
        problem_type="regression", num_labels=1, label_mean=3.25, label_scale=1.5
    )
    scores = {"mse": 0.5, "mae": 0.25, "r2": 0.75, "pearson": 0.9, "spearman": 0.8, "loss": 1.0}
    results = {**RESULTS, "scores": scores, "majority": {"mse": 2.25, "mae": 1.0, "r2": 0.0}}
    results |= {"per_label": None, "intervals": {"mse": {"low": 0.4, "high": 0.625}}}
    card = card_of(results, numbers)
    assert "| Mean squared error | 0.5 | 0.4 to 0.625 | 2.25 |" in card
    assert "the mean 3.25 and the standard deviation 1.5" in card
    assert ModelCard(card).data.eval_results[0].metric_value == 0.5


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=80))
def test_no_label_breaks_a_table(name: str) -> None:
    shown = cell(name)
    assert len(shown.splitlines()) <= 1 and "<" not in shown
    assert not re.search(r"(?<!\\)(\\\\)*\|", shown)
    fence = code_block(f"{name}\n```\n````", "yaml").split("yaml")[0]
    assert fence == "`" * max(5, len(fence))


# Whose words stay.

OLD = card_of()
NEW = card_of({**RESULTS, "scores": {**RESULTS["scores"], "accuracy": 0.5}})
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=40)


@settings(deadline=None, max_examples=60)
@given(WORDS, WORDS, st.sampled_from(["results", "labels", "use", None]))
def test_words_of_the_author_stay_and_figures_are_renewed(first, last, taken_out) -> None:
    old, new = OLD, NEW
    title = "# demo\n"
    edited = old.replace(title, f"{title}{first}\n", 1) + last
    expected = new.replace(title, f"{title}{first}\n", 1) + last
    if taken_out is not None:
        region = re.compile(rf"<!-- hierbert:{taken_out} -->.*<!-- /hierbert:{taken_out} -->", re.S)
        edited, expected = region.sub("", edited), region.sub("", expected)
    merged = merge_cards(new, edited).text
    front, body = merged[4:].split("\n---\n", 1)
    assert body == expected[4:].split("\n---\n", 1)[1]
    assert yaml.safe_load(front) == yaml.safe_load(expected[4:].split("\n---\n", 1)[0])
    # The same again changes nothing, to the byte.
    assert merge_cards(new, merged).text == merged
    assert merge_cards(old, edited).text == edited


def test_metadata_of_the_author_stay() -> None:
    old = card_of().replace("license: apache-2.0", "license: mit\nlanguage:\n- de  # German")
    assert merge_cards(card_of(), old).text == old
    changed = card_of({**RESULTS, "scores": {**RESULTS["scores"], "accuracy": 0.5}})
    data = ModelCard(merge_cards(changed, old).text).data
    assert (data.license, data.language) == ("mit", ["de"])
    assert next(r for r in data.eval_results if r.metric_name == "Accuracy").metric_value == 0.5


def worse() -> str:
    return card_of({**RESULTS, "scores": {**RESULTS["scores"], "accuracy": 0.5}})


def test_of_the_metadata_only_the_figures_lines_change() -> None:
    before, index = card_of().split("model-index:\n")
    index, body = index.split("\n---\n", 1)
    ours = "---\n# Mine.\nlanguage: no\nlicense: mit  # asked\n"
    theirs = "\n# The next.\nextra: { a: 1,  b: 0x10 }\n"
    old = f"{ours}model-index:\n{index}{theirs}---\n{body}"
    new_index = worse().split("model-index:\n")[1].split("\n---\n")[0]
    assert new_index != index and before.startswith("---\n")
    merged = merge_cards(worse(), old).text
    assert merged.startswith(f"{ours}model-index:\n{new_index}{theirs}---\n")
    # Where there are none they are added behind the others, whose lines stay.
    merged = merge_cards(worse(), f"{ours}---\n{body}").text
    assert merged.startswith(f"{ours}model-index:\n{new_index}\n---\n")
    # What cannot be changed alone is left, and that is said.
    flow = f"---\n{{license: mit, language: no}}\n---\n{body}"
    kept = merge_cards(worse(), flow)
    assert kept.text.startswith("---\n{license: mit, language: no}\n---\n")
    assert "model-index in its metadata could not be renewed" in kept.note


@pytest.mark.parametrize("opening", ["\n---\n", "\ufeff---\n", "--- \n", "\ufeff\n ---\t\n"])
def test_metadata_are_found_where_editors_leave_them(opening) -> None:
    old = card_of().replace("license: apache-2.0", "license: mit")
    edited = opening + old.removeprefix("---\n")
    merged = merge_cards(worse(), edited).text
    assert merged.startswith(opening) and merged.count("\nmodel-index:") == 1
    expected = merge_cards(worse(), old).text
    assert merged == opening + expected.removeprefix("---\n")
    only = merge_cards(card_of(), f"{opening}license: mit\n---").text
    assert ModelCard(only).data.license == "mit" and "## Results" in only
    windows = merge_cards(worse(), edited.replace("\n", "\r\n")).text
    assert windows == merged.replace("\n", "\r\n")


def test_metadata_without_an_end_are_kept() -> None:
    body = card_of().split("\n---\n", 1)[1]
    old = f"---\nlicense: mit\n{body}"
    merged = merge_cards(worse(), old)
    assert merged.text == old and "kept as it is" in merged.note


def test_without_its_run_a_model_keeps_the_figures_of_its_page() -> None:
    bare = render_card(CardSource("alice/demo", CONFIG, 28_600_000, None, "apache-2.0"))
    merged = merge_cards(bare, card_of())
    assert ModelCard(merged.text).data.eval_results == ModelCard(card_of()).data.eval_results
    for name in ("results", "documents", "training", "speed"):
        region = re.compile(rf"<!-- hierbert:{name} -->.*<!-- /hierbert:{name} -->", re.DOTALL)
        assert region.findall(merged.text) == region.findall(card_of())
    assert "without the run nothing new is known of documents, results" in merged.note


def test_a_licence_that_is_asked_for_is_set() -> None:
    old = card_of().replace("license: apache-2.0", "license: mit  # mine")
    assert "\nlicense: mit  # mine\n" in merge_cards(card_of(), old).text
    merged = merge_cards(card_of(), old, "cc-by-4.0")
    assert merged.text == old.replace("license: mit ", "license: cc-by-4.0 ")
    assert "its licence becomes cc-by-4.0" in merged.note
    lines = merge_cards(card_of(), old.replace("license: mit  # mine\n", ""), "cc-by-4.0").text
    assert "\nlicense: cc-by-4.0\n---\n" in lines
    own = merge_cards(card_of(), "# Mine\n", "mit")
    assert own.text == "---\nlicense: mit\n---\n# Mine\n"
    only = merge_cards(card_of(), "---\nlicense: mit\n---\n", "cc-by-4.0").text
    assert ModelCard(only).data.license == "cc-by-4.0"


def test_cards_that_cannot_be_merged_are_kept() -> None:
    for old in ("# Mine\n", "", "---\nlicense: mit\n---\n# Mine\n", "---\na: [\n---\n# Mine\n"):
        merged = merge_cards(card_of(), old)
        if old.strip():
            assert merged.text == old and "kept as it is" in merged.note
        else:
            assert merged.text == card_of()
    windows = card_of().replace("\n", "\r\n")
    assert merge_cards(card_of(), windows).text == windows
    only = merge_cards(card_of(), "---\nlicense: mit\n---\n").text
    assert ModelCard(only).data.license == "mit" and "## Results" in only
