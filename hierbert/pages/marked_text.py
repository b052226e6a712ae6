"""A text with highlights as HTML: in blocks, so that a browser lays out what is seen alone.

Invariant: put together, the blocks hold the text, each character once and in order.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from markupsafe import Markup

from hierbert.pages.highlights import SUMMARY, Highlight
from hierbert.pages.shell import category, shown

# Characters of a block: one with a line end after the first number of them ends there.
_LEAST, _MOST = 1_500, 6_000
# Per cent of a hue behind the weakest and the strongest, so that the text stays readable.
_TINTS = {"word": (34, 50), "sentence": (10, 34), SUMMARY: (60, 60), "segment": (5, 16)}


def blocks(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each block."""
    start = 0
    while start < len(text):
        least, most = start + _LEAST, start + _MOST
        for mark in ("\n", ". ", " "):
            if (found := text.find(mark, least, most)) >= 0:
                end = found + len(mark)
                break
        else:
            end = most
        end = len(text) if len(text) - end < _LEAST // 4 else end
        yield start, end
        start = end


def marked_text(text: str, highlights: Sequence[Highlight]) -> tuple[Markup, dict[int, str]]:
    """The blocks with what is highlighted, and the id of the place where each highlight begins."""
    edges: dict[int, list[tuple[Highlight, bool]]] = defaultdict(list)
    for one in highlights:
        for start, end in one.spans:
            edges[start].append((one, True))
            edges[end].append((one, False))
    cuts = sorted(edges)
    open_ones: dict[int, Highlight] = {}
    ids: dict[int, str] = {}
    made: list[str] = []
    at, next_cut = 0, 0
    for first, last in blocks(text):
        made.append(f'<div class="block" dir="auto" data-at="{first}">')
        at = first
        while at < last:
            begun: list[Highlight] = []
            if next_cut < len(cuts) and cuts[next_cut] == at:
                for one, begins in edges[at]:
                    if not begins:
                        open_ones.pop(one.number, None)
                for one, begins in edges[at]:
                    if begins:
                        open_ones[one.number] = one
                        begun.append(one)
                next_cut += 1
            until = min(last, cuts[next_cut]) if next_cut < len(cuts) else last
            content = shown(text[at:until])
            if open_ones:
                ends = [one for one, begins in edges.get(until, ()) if not begins]
                made.append(_mark(content, at, open_ones.values(), begun, ends, ids))
            else:
                made.append(str(content))
            at = until
        made.append("</div>\n")
    return Markup("".join(made)), ids


def _mark(
    content: Markup,
    at: int,
    over: Iterable[Highlight],
    begun: Sequence[Highlight],
    ends: Sequence[Highlight],
    ids: dict[int, str],
) -> str:
    """A piece of the text that the same highlights cover."""
    layers = sorted(over, key=lambda one: one.layer)
    top = layers[0]
    classes = [f"is-{top.kind}"]
    classes += ["against"] if top.kind != SUMMARY and top.value < 0 else []
    classes += ["begins"] if any(one.kind == SUMMARY for one in begun) else []
    classes += ["ends"] if any(one.kind == SUMMARY for one in ends) else []
    styles = [f"--c:{hue(top)};--a:{tint(top)}"]
    if top.group >= 0:
        styles.append(f"--l:{category(top.group).line}")
    below = {one.group: one for one in reversed(layers) if one.group != top.group}
    if below:
        mixed = (f"color-mix(in srgb,{hue(one)} {tint(one)},transparent)" for one in below.values())
        styles.append("background-image:" + ",".join(f"linear-gradient({c},{c})" for c in mixed))
    more = ""
    if begun:
        new = [one for one in begun if one.number not in ids]
        ids.update((one.number, f"at-{at}") for one in new)
        more = f' id="at-{at}" tabindex="-1"'
        tags = " ".join(
            one.tag for one in sorted(begun, key=lambda o: o.layer) if one.kind != "word"
        )
        more += f' data-tag="{tags}"' if tags else ""
    numbers = " ".join(str(one.number) for one in layers)
    tip = shown("; ".join(one.tip for one in layers))
    return (
        f'<mark class="{" ".join(classes)}" data-g="{top.group}" data-h="{numbers}"'
        f' style="{";".join(styles)}" title="{tip}"{more}>{content}</mark>'
    )


def hue(one: Highlight) -> str:
    """The CSS variable of a highlight's colour, which is transparent where it is switched off."""
    if one.group < 0:
        return "var(--on-s)"
    return f"var(--on-{'p' if one.kind == 'segment' else 'g'}{one.group})"


def tint(one: Highlight) -> str:
    """How much of its colour lies behind the text, as CSS has it: less in the dark."""
    least, most = _TINTS[one.kind]
    part = round(least + (most - least) * one.weight)
    return f"calc({part}%*var(--k{'s' if one.kind == SUMMARY else ''}))"
