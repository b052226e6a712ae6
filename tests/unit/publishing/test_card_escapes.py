"""What strangers name is text on a model's page: in Markdown, in HTML and in the metadata."""

from typing import Any

import pytest
import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from markdown_it import MarkdownIt

from hierbert import HierBertConfig
from hierbert.config import RunConfig
from hierbert.publishing import publish
from hierbert.publishing.card import render_card
from hierbert.publishing.card_merge import merge_cards
from hierbert.publishing.runs import Run
from hierbert.settings import load_config

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</details><script>alert(1)</script>",
    "`<b>` ``<i>`` ```",
    "```\n\n<script>alert(1)</script>\n",
    "~~~\n# Title\n\n---\nlicense: evil\n---\n",
    "[click](javascript:alert(1)) ![x](http://evil.example/x.png)",
    "<http://evil.example> www.evil.example me@evil.example @everyone",
    "[a]: http://evil.example 'title'",
    "a | b || c\n| --- |\n",
    "<!-- /hierbert:training -->\n<!-- hierbert:results -->",
    "<!--", "-->", "<![CDATA[", "<?php", "&lt;b&gt; &#60;img&#62; &amp;",
    "**bold** __bold__ *em* _em_ ~~gone~~", "# Title", "- list", "1. list", "> quote", "    code",
    "$x$ $$y$$", "\\<b>\\", "a\\", "\\`<b>`", "x\x00y\x1b[31m", "\ud800<b>", "\u2028# a\x85# b",
    "{{ 7 * 7 }}{% raw %}", "'\"<b>", "<" * 200, "[" * 200, "`" * 200,
]  # fmt: skip
SCORES = ("accuracy", "macro_f1", "micro_f1", "rouge1", "rouge2", "rougeL", "rougeLsum")


def page(named: str, encoder: str | None = None) -> str:
    """A card whose every value of a user's, but its figures, has this name."""
    labels = [f"l0 {named}", f"{named} l1"]
    config = HierBertConfig(
        id2label=dict(enumerate(labels)),
        label2id={name: number for number, name in enumerate(labels)},
        problem_type="single_label_classification",
        summarization=True,
        max_segments=3,
    )
    config.encoder_config._name_or_path = f"/models/{named}" if encoder is None else encoder
    means = {kind: {"mean": 0.3, "low": 0.2, "high": 0.4, "p": 0.1} for kind in SCORES[3:]}
    results: dict[str, Any] = {
        **{"split": named, "documents": 4, "epochs": 1, "steps": 2, "best_step": 2},
        "scores": dict.fromkeys((*SCORES, "loss"), 0.5),
        "majority": dict.fromkeys(SCORES[:3], 0.25),
        "per_label": {
            "labels": [
                {"label": name, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
                for name in labels
            ],
            "confusion": [[1, 1], [1, 1]],
        },
        "label_counts": dict.fromkeys(labels, 3),
        "budget": {"name": named, "limit": 67.0},
        "summaries": {
            "systems": {named: means, "hierbert": means},
            "gain": {named: means["rouge1"]},
        },
        "lengths": {
            named: dict.fromkeys(
                ("documents", "median_tokens", "p90_tokens", "longest_tokens", "tokens"), 5
            )
        },
        "resources": {"device": named, "processes": 1, "threads": 2, "training_seconds": 3.0},
        "environment": {named: named},
    }
    settings = load_config(RunConfig, None, ["data.train=x.jsonl", "data.label_column=l"])
    settings.data.train = [f"/corpora/{named}", f"hub://alice/{named}", f"package://{named}/x"]
    settings.data.validation = f"hub://{named}"
    settings.data.test = f"{named}.csv"
    settings.data.text_column = settings.data.label_column = settings.data.summary_column = named
    settings.data.columns = {"title": named}
    settings.model.encoder = settings.model.start_from = f"/models/{named}"
    settings.run_dir = f"/runs/{named}"
    return render_card("alice/demo", config, 123_456, Run(None, settings, results), named)


PLAIN = page("plain")


def parts(card: str) -> tuple[dict[str, Any], str]:
    """Metadata and text, as the Hub takes a card apart."""
    match = REGEX_YAML_BLOCK.match(card)
    return yaml.safe_load(match[2]), card[match.end() :]


def elements(body: str) -> list[tuple[str, str, str]]:
    """All that a page is made of but its words: tags, links, fences, and HTML as it is written."""
    found = []
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(body):
        for one in (token, *(token.children or ())):
            if one.type not in ("text", "softbreak"):
                html = one.content if one.type.startswith("html") else ""
                found.append((one.type, one.tag, f"{one.attrs} {html}"))
    return found


@pytest.mark.parametrize("named", HOSTILE)
def test_no_element_of_a_page_is_named_by_a_user(named) -> None:
    card, plain = page(named), PLAIN
    (front, body), (plain_front, plain_body) = parts(card), parts(plain)
    assert elements(body) == elements(plain_body)
    outside = body.split("```yaml")[0] + body.split("</details>")[-1]
    assert "http://" not in outside and "www.evil" not in outside and "me@" not in outside
    assert front.keys() == plain_front.keys() and front["tags"] == plain_front["tags"]
    # The marked parts are those of any card, so that new ones go in their place.
    merged = merge_cards(plain, card).text
    assert parts(merged)[1] == plain_body
    assert parts(merge_cards(card, merged).text) == (front, body)


@pytest.mark.parametrize("named", [*HOSTILE, "Apache 2.0", ""])
def test_a_licence_on_the_page_of_an_encoder_is_an_identifier_or_not_known(
    named, tmp_path, monkeypatch
) -> None:
    front = yaml.safe_dump({"license": named})
    (tmp_path / "README.md").write_text(f"---\n{front}---\n")
    monkeypatch.setattr(publish, "resolve_encoder", lambda _: tmp_path)
    assert publish.encoder_license("alice/encoder", online=False) is None
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    assert publish.encoder_license("alice/encoder", online=False) == "mit"


@pytest.mark.parametrize(
    "piece", ["<!-- hierbert:a -->\n", "\n", " ", "--- \n\n", "<!-- /hierbert:"]
)
def test_a_page_of_two_megabytes_of_one_thing_is_merged(piece) -> None:
    # In time with its square this would take hours.
    assert merge_cards(PLAIN, piece * (2_000_000 // len(piece)) + "x").text
