"""Files as they come: packed in any way, HTML and Markdown, and what a folder holds beside them."""

import bz2
import gzip
import lzma
from pathlib import Path

import pytest
from backports import zstd
from commands import refuse, run

import hierbert

LINES = b'{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n'
PACK = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd.compress,
}


def texts(path, **settings):
    return [one.text for one in hierbert.read_documents(path, **settings)]


@pytest.mark.parametrize("ending", PACK)
def test_packed_files_are_read_and_damage_is_told(tmp_path, ending) -> None:
    pack = PACK[ending]
    path = tmp_path / f"docs.jsonl.{ending}"
    path.write_bytes(pack(LINES) + pack(b'{"id": "c", "text": "three"}\n'))
    assert texts(path) == ["one", "two", "three"]
    (tmp_path / f"t.csv.{ending.upper()}").write_bytes(pack(b"id,text\n1,x\n"))
    (only,) = hierbert.read_documents(tmp_path / f"t.csv.{ending.upper()}")
    assert only.text == "x"
    long = pack(b"".join(b'{"text": "%d"}\n' % n for n in range(20_000)))
    for damaged in (b"not packed at all", long[: len(long) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(hierbert.DataError, match=f"docs.jsonl.{ending}: is damaged or not"):
            texts(path)
        broken = list(hierbert.read_documents(path, keep_broken=True))[-1]
        assert "damaged" in broken.reason


PAGE = """<!DOCTYPE html><html><head><title>A &amp; B</title><meta charset="latin-1">
<style>p {color: red}</style><script>alert("never")</script></head><body>
<h1>The heading</h1><p>One <b>bold</b> word,
wrapped.<br>A line<p>Not closed<ul><li>first<li>second</ul>
<table><tr><td>1</td><td>2</td></tr></table><!-- hidden --><noscript>never</noscript>tail
<pre>def f():
    pass</pre><p>Wrapped
again</body></html>"""
PAGE_TEXT = """A & B

The heading

One bold word, wrapped.
A line

Not closed

first
second

1
2

tail

def f():
pass

Wrapped again"""


def test_html_and_markdown_are_read_as_what_they_say(tmp_path) -> None:
    page, notes = tmp_path / "page.html", tmp_path / "notes.md"
    page.write_text(PAGE, encoding="utf-8")
    notes.write_text("# Title\n\nSome *words* of a\n[paragraph](http://x).\n\n- a\n- b\n")
    found = list(hierbert.read_documents(tmp_path))
    assert [one.id for one in found] == ["notes", "page"]
    assert found[0].text == "Title\n\nSome words of a paragraph.\n\na\nb"
    assert found[1].text == PAGE_TEXT
    empty = tmp_path / "empty.htm"
    for nothing in ("", "<!-- nothing -->", "<script>x</script>"):
        empty.write_text(nothing)
        assert texts(empty) == [""]
    # In linear time, however it is made.
    for what in ("<div>", "<p>x", "<!--", "<a b='", "</", "<table><tr>"):
        empty.write_text(what * 50_000)
        assert "<" not in texts(empty)[0]


HEADED = """---
title: "The Plan"
tags:
- secret
# of the site
layout: [a,
  b]
---

"""


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        (HEADED + "## Why\n\nSo.\n", "The Plan\n\nWhy\n\nSo."),
        (HEADED.replace("\n", "\r\n") + "# The Plan\r\n\r\nSo.", "The Plan\n\nSo."),
        (HEADED, "The Plan"),
        ("---\na: b\n...\nSo.", "So."),
        # Rules, and what is never closed.
        ("---\nSo it was\n---\nSo.", "So it was\n\nSo."),
        ("---\n\na: b\n\n---\nSo.", "a: b\n\nSo."),
        ("---\na: b\n\nSo.", "a: b\n\nSo."),
        ("So.\n\n" + HEADED.replace("#", "\\#"), None),
    ],
)
def test_yaml_before_markdown_is_no_text_but_its_title(tmp_path, markup, text) -> None:
    notes = tmp_path / "notes.md"
    notes.write_bytes(markup.encode())
    (found,) = texts(notes)
    assert found == text if text is not None else "secret" in found
    notes.write_bytes(b"---\na: b\n" + b"a:\n" * 50_000)  # in linear time
    assert texts(notes)[0].startswith("a: b")


def test_text_markdown_and_html_of_a_folder_are_read_together(tmp_path) -> None:
    docs = tmp_path / "docs"
    for name in ("pos/a.txt", "pos/a.md", "neg/b.HTML", "neg/c/d.markdown", "neg/e.htm"):
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(f"<p>{name}" if "h" in name.lower() else f"# {name}\n")
    (docs / "README.md").write_text("no document of a label")
    (docs / "pos/z.pdf").write_text("x")

    def told() -> str:
        arguments = ("--model", "none", "--input", docs, "--output", "-")
        return run("infer.py", *arguments, here=True).stderr

    found = list(hierbert.read_documents(docs, label_column="label"))
    assert [(one.id, one.text, one.fields["label"]) for one in found] == [
        ("neg/b", "neg/b.HTML", "neg"),
        ("neg/c/d", "neg/c/d.markdown", "neg"),
        ("neg/e", "neg/e.htm", "neg"),
        ("pos/a.md", "pos/a.md", "pos"),
        ("pos/a", "# pos/a.txt\n", "pos"),
    ]
    assert f"{docs}: 1 .html, 1 .markdown, 1 .htm, 1 .md, 1 .txt\n" in told()
    assert "2 other files are passed over: 'README.md', 'pos/z.pdf'" in told()
    (docs / "0.txt").write_text("at the top")  # now no folder is a label
    (docs / "notes.md").write_text("# At the top too")
    assert {"0", "notes"} < {one.id for one in hierbert.read_documents(docs)}
    # A README is about the texts, and needs no package that reads it; of Markdown alone it is one.
    assert "README" not in {one.id for one in hierbert.read_documents(docs)}
    assert "2 other files are passed over: 'README.md', 'pos/z.pdf'" in told()
    # Where rows are documents these are words about them.
    for text in docs.rglob("*.txt"):
        text.unlink()
    assert {"README", "notes"} < {one.id for one in hierbert.read_documents(docs)}
    (docs / "rows.jsonl").write_bytes(LINES)
    assert texts(docs) == ["one", "two"]


@pytest.mark.parametrize(("read", "count"), [("txt", 2), ("csv", 1), ("jsonl.zst", 2)])
def test_what_a_folder_holds_beside_is_said(tmp_path, read, count) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    others = ("a.pdf", "notes.docx" if read == "txt" else "notes.md")
    for name in (*others, ".hidden"):
        (folder / name).write_text("x")
    if read == "txt":
        for name in ("one", "two"):
            (folder / f"{name}.txt").write_text("words")
    else:
        data = b"text\nx\n" if read == "csv" else PACK["zst"](LINES)
        (folder / f"a.{read}").write_bytes(data)
    done = run("infer.py", "--model", "none", "--input", folder, "--output", "-", here=True)
    assert f"{folder}: 2 other files are passed over: {others[0]!r}, {others[1]!r}" in done.stderr
    assert len(texts(folder)) == count


@pytest.mark.parametrize("ending", ["jsonl", "md"])
def test_files_in_folders_of_a_folder_are_read_or_named(tmp_path, ending) -> None:
    docs = tmp_path / "docs"
    for name in ("a", "2019/b", "2019/may/c", ".git/d"):
        path = docs / f"{name}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"text": "x"}\n')

    def told(what: Path) -> str:
        return run(
            "infer.py", "--model", "none", "--input", what, "--output", "-", here=True
        ).stderr

    names = f"'2019/b.{ending}', '2019/may/c.{ending}'"
    passed_over = f"{docs}: 2 other files are passed over: {names}\n" in told(docs)
    assert passed_over is (ending == "jsonl")
    if ending == "md":
        assert sorted(texts(docs)) == ['{"text": "x"}'] * 3
    pattern = docs / "*"
    assert f"{pattern}: 1 folders are passed over: '/" in told(pattern)
    (docs / f"a.{ending}").unlink()
    assert f"no file matches '{pattern}', but folders do: '/" in told(pattern)


def test_without_its_package_a_format_is_refused_by_name(tmp_path, monkeypatch) -> None:
    for package, name in (("lxml", "a.html"), ("markdown_it", "a.md"), ("backports", "a.csv.zst")):
        monkeypatch.setitem(__import__("sys").modules, package, None)
        (tmp_path / name).write_bytes(b"text\n")
        line = refuse(
            "infer.py", "--model", "m", "--input", tmp_path / name, "--output", "-", here=True
        )
        assert name in line and "pip install 'hierbert[files]'" in line
