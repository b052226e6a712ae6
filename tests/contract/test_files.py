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
    pass</pre></body></html>"""
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
pass"""


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


@pytest.mark.parametrize(("read", "count"), [("txt", 2), ("csv", 1), ("jsonl.zst", 2)])
def test_what_a_folder_holds_beside_is_said(tmp_path, read, count) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("a.pdf", "notes.md", ".hidden"):
        (folder / name).write_text("x")
    if read == "txt":
        for name in ("one", "two"):
            (folder / f"{name}.txt").write_text("words")
    else:
        data = b"text\nx\n" if read == "csv" else PACK["zst"](LINES)
        (folder / f"a.{read}").write_bytes(data)
    done = run("infer.py", "--model", "none", "--input", folder, "--output", "-", here=True)
    assert f"{folder}: 2 other files are passed over: 'a.pdf', 'notes.md'" in done.stderr
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
    assert f"{docs}: 2 other files are passed over: {names}\n" in told(docs)
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
        assert name in line and "install hierbert[files]" in line
