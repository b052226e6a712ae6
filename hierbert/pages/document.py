"""The page of a document: its text with what its answer comes from, and the answer beside it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hierbert.pages.highlights import SUMMARY, Group, Highlight, find_highlights, signed
from hierbert.pages.marked_text import hue, marked_text
from hierbert.pages.shell import asset, category, fragment, render_page

ENTRY = "hierbert-entry"
"""Name of the head's line that tells what an index says of a page."""

_MOST_PROBABILITIES = 10
_MOST_COLUMNS = 8
_LONGEST_VALUE = 300
# What has a place of its own in a page, or none.
_TOLD = {
    *("id", "label", "labels", "path", "paths", "abstained", "probabilities", "top_labels"),
    *(
        "evidence",
        "summary",
        "sentences",
        "rewritten",
        "rewritten_sentences",
        "document_vector",
        "segment_vectors",
    ),
    *("segment_spans", "over_limit", "query_unmatched", "omission", "sentence_kinds"),
    "sentence_evidence",
}


def document_page(text: str, answer: Mapping[str, Any], title: str = "", index: str = "") -> str:
    """A whole page.

    Args:
        text: The document, into which the answer's spans point.
        answer: A row of answers.
        title: The heading; without one the answer's id.
        index: Name of the file that lists the pages, to link to; "" for none.
    """
    title = title or str(answer.get("id", "")) or "Document"
    facts = answer_facts(text, answer)
    groups: list[Group] = facts["groups"]
    every = [*(one for group in groups for one in of_group(group)), *facts["summary"]]
    content, places = marked_text(text, every)
    body = fragment(
        "document.html.jinja",
        title=title,
        text=content,
        characters=len(text),
        places=places,
        index=index,
        columns=_map_columns(text, facts),
        fields=_other_fields(answer),
        segments_first=not any(group.sentences for group in groups),
        **facts,
    )
    entry = json.dumps(entry_of(text, answer))
    head = Markup('<meta name="{}" content="{}">').format(ENTRY, entry)
    styles = asset("answer.css") + asset("document.css") + _switches(groups)
    return render_page(title, body, styles, asset("document.js"), head)


def notebook_view(text: str, answer: Mapping[str, Any]) -> str:
    """An answer as a notebook shows it: without the text."""
    facts = answer_facts(text, answer)
    return str(fragment("notebook.html.jinja", styles=asset("answer.css"), **facts))


def entry_of(text: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """What an index tells of a document; short."""
    label = answer.get("label")
    labels = [label] if label is not None else list(answer.get("labels") or ())
    probabilities = answer.get("probabilities") or {}
    summary = str(answer.get("summary") or "")
    return {
        "id": str(answer.get("id", ""))[:_LONGEST_VALUE],
        "labels": [one if isinstance(one, float) else str(one)[:100] for one in labels[:10]],
        "more_labels": max(0, len(labels) - 10),
        "answers": "probabilities" in answer or label is not None or "labels" in answer,
        "probability": max((probabilities.get(one, 0.0) for one in labels), default=None)
        if probabilities
        else None,
        "characters": len(text),
        "summary": summary[:160].replace("\n", " ") + ("…" if len(summary) > 160 else ""),
    }


def answer_facts(text: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates word of an answer."""
    groups, summary = find_highlights(text, answer)
    probabilities = answer.get("probabilities") or {}
    likeliest = sorted(probabilities.items(), key=lambda one: -one[1])
    label = answer.get("label")
    paths = [path for path in [answer.get("path"), *(answer.get("paths") or ())] if path]
    return {
        "groups": groups,
        "summary": summary,
        "label": label,
        "is_number": isinstance(label, int | float),
        "labels": answer.get("labels"),
        "paths": paths,
        "named": {*(answer.get("labels") or ()), label, *(node for path in paths for node in path)},
        "abstained": answer.get("abstained"),
        "probabilities": likeliest[:_MOST_PROBABILITIES],
        "more_probabilities": max(0, len(likeliest) - _MOST_PROBABILITIES),
        "has_summary": answer.get("sentences") is not None,
        "made_of": [_made_of(one) for one in answer.get("sentence_evidence") or ()],
        "rewritten": answer.get("rewritten_sentences") or [],
        "omission": answer.get("omission"),
        "over_limit": answer.get("over_limit"),
        "query_unmatched": answer.get("query_unmatched"),
        "signed": signed,
    }


def _made_of(evidence: Mapping[str, float]) -> str:
    """What a sentence's score is made of, in words, the largest first."""
    kinds = [(name, one) for name, one in evidence.items() if name not in ("logit", "average")]
    kinds.sort(key=lambda one: -abs(one[1]))
    return ", ".join(f"{name} {signed(value)}" for name, value in kinds)


def of_group(group: Group) -> list[Highlight]:
    """All highlights of a label."""
    return [*group.segments, *group.sentences, *group.words]


def _switches(groups: Sequence[Group]) -> str:
    """CSS by which boxes show and hide what is highlighted, without any script."""
    rules = [
        ":root{--on-s:var(--summary)}:root:has(#show-s:not(:checked)){--on-s:transparent}"
        ':root:has(#show-s:not(:checked)) mark[data-g="-1"]::before,'
        ":root:has(#show-s:not(:checked)) mark.begins::before,"
        ":root:has(#show-s:not(:checked)) mark.ends::after{content:none}"
    ]
    for group in groups:
        n = group.number
        off = f":root:has(#show-{n}:not(:checked))"
        rules.append(
            f":root{{--on-g{n}:{category(n).hue};--on-p{n}:transparent}}"
            f":root:has(#show-segments:checked){{--on-p{n}:var(--on-g{n})}}"
            f'{off}{{--on-g{n}:transparent}}{off} mark[data-g="{n}"]::before{{content:none}}'
        )
    return "\n".join(rules)


def _map_columns(text: str, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the strip beside the text shows: of the summary and each label, bars by place."""
    length = max(1, len(text))

    def bars(highlights: Sequence[Highlight]) -> list[dict[str, Any]]:
        return [
            {
                "kind": one.kind,
                "against": one.kind != SUMMARY and one.value < 0,
                "top": f"{1000 * start / length:.1f}",
                "height": f"{max(3, 1000 * (end - start) / length):.1f}",
                "strength": f"{0.25 + 0.75 * one.weight:.2f}",
            }
            for one in highlights
            for start, end in one.spans
        ]

    columns = []
    if facts["summary"]:
        columns.append({"letter": "Σ", "hue": "var(--on-s)", "bars": bars(facts["summary"])})
    for group in facts["groups"][:_MOST_COLUMNS]:
        look = category(group.number)
        shown_in = [one for one in of_group(group) if one.spans]
        hue_of = hue(shown_in[-1]) if shown_in and shown_in[-1].kind != "segment" else look.hue
        columns.append({"letter": look.letter, "hue": hue_of, "bars": bars(shown_in)})
    return columns


def _other_fields(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Columns that were kept, and what other heads answer."""
    fields = []
    for name, value in answer.items():
        if name not in _TOLD and value is not None:
            told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            cut = told[:_LONGEST_VALUE] + ("…" if len(told) > _LONGEST_VALUE else "")
            fields.append((str(name)[:_LONGEST_VALUE], cut))
    return fields
