"""HTML and Markdown as text: headings, paragraphs, list items and cells, each on lines of its own.

Invariant: what a browser would not show (scripts, styles, comments) is in no text.
"""

import re

from hierbert.errors import DataError, needing

# Where blocks and lines end, in the text that is collected.
_BLOCK, _LINE = "\0", "\1"
_HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "iframe", "object"})
# What stands on lines of its own, and what stands on one line of its block.
_BLOCKS = frozenset(
    [
        *("title", "address", "article", "aside", "blockquote", "body", "caption", "details"),
        *("div", "dl", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3"),
        *("h4", "h5", "h6", "header", "hr", "main", "nav", "ol", "p", "pre", "section"),
        *("summary", "table", "ul"),
    ]
)
_LINES = frozenset({"br", "dd", "dt", "li", "td", "th", "tr"})
# Lines of keys and values between marks, at the beginning of a Markdown text.
_FRONT_MATTER = re.compile(
    r"---[ \t]*\r?\n(?=[\w\"'-])"
    r"(?:(?!(?:---|\.\.\.)[ \t]*\r?$)(?:[^\s:#-][^:\n]*:(?:[ \t][^\n]*)?|[ \t#-][^\n]*)?\r?\n)*+"
    r"(?:---|\.\.\.)[ \t]*\r?(?:\n|\Z)",
    re.MULTILINE,
)
_TITLE = re.compile(r"^title:[ \t]+([\"']?)([^\s|>\"'][^\n]*?)\1[ \t]*\r?$", re.MULTILINE)


def html_text(markup: str) -> str:
    """What a page says, its title first.

    A DataError where the package that reads HTML is missing.
    """
    with needing("HTML", "lxml", "files", DataError):
        from lxml import etree
    # Bytes, so that an encoding that the page names is not believed once more.
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True)
    parser.feed(re.sub(f"[{_BLOCK}{_LINE}]", " ", markup).encode("utf-8", "replace"))
    try:
        root = parser.close()
    except etree.XMLSyntaxError:
        root = None
    if root is None:
        return ""  # nothing but marks
    parts: list[str] = []
    preformatted = 0

    def add(text: str | None) -> None:
        parts.append((text or "").replace("\n", _LINE) if preformatted else text or "")

    walker = etree.iterwalk(root, events=("start", "end", "pi"))
    for event, element in walker:
        if event == "pi":
            add(element.tail)
            continue
        mark = _BLOCK if element.tag in _BLOCKS else _LINE if element.tag in _LINES else ""
        parts.append(mark)
        preformatted += (element.tag == "pre") * (1 if event == "start" else -1)
        if event == "end":
            add(element.tail)
        elif element.tag in _HIDDEN:
            walker.skip_subtree()
        else:
            add(element.text)
    # Line ends of the page are white space; those of its elements are lines.
    blocks = "".join(parts).split(_BLOCK)
    texts = ("\n".join(filter(None, map(_one_line, block.split(_LINE)))) for block in blocks)
    return "\n\n".join(filter(None, texts))


def markdown_text(markup: str) -> str:
    """What a Markdown text says, without its marks; of YAML before it the title.

    A DataError where a package that it needs is not installed.
    """
    with needing("Markdown", "markdown-it-py", "files", DataError):
        from markdown_it import MarkdownIt
    head = _FRONT_MATTER.match(markup)
    title = head and _TITLE.search(head[0])
    text = html_text(
        MarkdownIt("commonmark").enable("table").render(markup[head.end() if head else 0 :])
    )
    # Most texts say it once more.
    if title and not text.startswith(_one_line(title[2])):
        text = f"{_one_line(title[2])}\n\n{text}".rstrip()
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split())
