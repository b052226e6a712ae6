"""Pages of documents as users see them: flags, files, Python, notebooks, what is refused."""

import html
import os
import re
import signal
from pathlib import Path

import pytest
from commands import ROOT, read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows

from hierbert import HierBert

IDS = ["a/b", "x" * 300, "漢字", "<script>alert(1)</script>", "\u202e", "a b"]
HOSTILE = "<img src=x onerror=alert(1)> \u202e\0 \r\n"


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [row["text"] + HOSTILE for row in make_rows(len(IDS) - 1)]
    rows = [{"id": one, "text": text} for one, text in zip(IDS, [*texts, ""], strict=True)]
    return write_jsonl(tmp_path_factory.mktemp("docs") / "docs.jsonl", rows)


def pages_of(folder: Path) -> dict[str, str]:
    """Text of each page by its heading."""
    found = {}
    for path in folder.glob("*.html"):
        page = path.read_bytes().decode()
        if not path.name.startswith("index"):
            heading = re.search(r"<h1><bdi>(.*?)</bdi></h1>", page, re.S)
            blocks = re.findall(r'<div class="block"[^>]*>(.*?)</div>', page, re.S)
            text = html.unescape(re.sub("<[^>]+>", "", "".join(blocks)).replace("&#13;", "\r"))
            assert heading
            found[html.unescape(heading[1])] = text
    return found


def test_a_job_writes_a_page_for_each_document(models, docs, tmp_path) -> None:
    job = ["--model", models["both"], "--input", docs, "--output", tmp_path / "o.jsonl"]
    pages = tmp_path / "pages"
    told = succeed("infer.py", *job, "--html", pages, here=True)
    assert f"{len(IDS)} pages" in told.stderr
    rows = read_jsonl(tmp_path / "o.jsonl")
    # Evidence is asked for, and is in the rows too.
    assert all(
        row["evidence"] and len(row["sentence_evidence"]) == len(row["sentences"]) for row in rows
    )
    expected = {row["id"]: row["text"].replace("\0", "␀") for row in read_jsonl(docs)}
    assert pages_of(pages) == expected
    index = (pages / "index.html").read_text()
    links = re.findall(r'<a href="([^"]+)"><bdi>(.*?)</bdi></a>', index)
    assert [html.unescape(name) for _, name in links] == IDS
    assert {link for link, _ in links} | {"index.html"} == {p.name for p in pages.iterdir()}
    assert "<script>alert" not in index
    error = refuse("infer.py", *job, "--html", pages, "--overwrite", "--html-limit", "0", here=True)
    assert "--html-limit" in error and "at least 1" in error
    told = succeed("infer.py", *job, "--html", pages, "--overwrite", "--html-limit", "2", here=True)
    assert "first 2 of 6 rows" in told.stderr
    assert sorted(pages_of(pages)) == sorted(IDS[:2]) and len(list(pages.iterdir())) == 3


def test_summaries_have_pages_beside_standard_output(docs, tmp_path) -> None:
    pages = tmp_path / "pages"
    asked = ["hierbert", "summarize", docs, "--max-sentences", "1", "--html", pages]
    done = succeed(*asked, here=True)
    assert len(done.stdout.splitlines()) == len(IDS) == len(pages_of(pages))
    assert 'class="is-summary' in "".join(path.read_text() for path in pages.iterdir())
    assert "pages of another job" in refuse(*asked, here=True)
    succeed(*asked, "--overwrite", here=True)


def test_shards_and_resuming_keep_the_pages(models, docs, tmp_path) -> None:
    pages = tmp_path / "pages"
    job = ["--model", models["many"], "--input", docs, "--output", tmp_path / "o"]
    job += ["--rows-per-shard", "2", "--html", pages]
    succeed("infer.py", *job, here=True)
    before = sorted(path.name for path in pages.iterdir()), pages_of(pages)
    succeed("infer.py", *job, "--resume", here=True)
    (tmp_path / "o" / "part-00001.jsonl").unlink()
    gone = next(path for path in pages.iterdir() if path.name.startswith("script"))
    gone.unlink()
    succeed("infer.py", *job, "--resume", here=True)
    assert (sorted(path.name for path in pages.iterdir()), pages_of(pages)) == before
    for other in (["--html", tmp_path / "other"], ["--html-limit", "3"]):
        assert "html" in refuse("infer.py", *job, *other, "--resume", here=True)


def test_python_and_notebooks_show_a_document(models) -> None:
    model = HierBert.from_pretrained(models["both"], device="cpu")
    text = make_rows(1)[0]["text"]
    page = model.page(text, title="My <title>")
    assert page.startswith("<!DOCTYPE html>") and "<bdi>My &lt;title&gt;</bdi>" in page
    assert 'class="is-sentence' in page and "is-summary" in page
    assert 'class="is-sentence' not in model.page(text, ["summarize"])
    assert "Evidence" not in model.page(text, rule={"evidence": False})
    [answer] = model.classify(text, evidence=True)
    view = answer._repr_html_()
    assert answer.label in view and "<script" not in view and "<main" not in view
    best = answer.evidence[0]["sentences"][0]
    assert html.escape(text[best["start"] : best["end"]][:20]) in view


def test_what_no_pages_can_be_of_is_one_line(models, docs, tmp_path) -> None:
    job = ["--model", models["summaries"], "--input", docs, "--output", tmp_path / "o.jsonl"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for flags, words in (
        (["--html-limit", "3"], ["--html-limit", "--html"]),
        (["--html", tmp_path / "mine"], ["--html", "notes.txt", "no page"]),
        (["--html", tmp_path], ["--html", "--output"]),
        (["--html", tmp_path / "o.jsonl.partial" / "x"], ["--html", "--output"]),
        (["--html", docs], ["--html", "no folder"]),
        (["--html", tmp_path / "no" / "where"], ["--html", "there is no folder"]),
    ):
        error = refuse("infer.py", *job, *flags, here=True)
        assert all(word in error for word in words), error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_line(models, docs, tmp_path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir(mode=0o500)
    job = ["--model", models["summaries"], "--input", docs, "--output", tmp_path / "o.jsonl"]
    assert "--html" in refuse("infer.py", *job, "--html", pages, here=True)


def test_a_full_disk_is_one_line_and_leaves_no_half_page(
    models, docs, tmp_path, monkeypatch
) -> None:
    pages = tmp_path / "pages"
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.parent == pages and len(list(pages.iterdir())) > 3:
            write(path, content[:100])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    job = ["--model", models["summaries"], "--input", docs, "--output", tmp_path / "o.jsonl"]
    error = refuse("infer.py", *job, "--html", pages, here=True)
    assert "--html" in error and "No space left on device" in error
    whole = [path.read_text().rstrip().endswith("</html>") for path in pages.iterdir()]
    assert whole == [True] * 3
    monkeypatch.undo()
    succeed("infer.py", *job, "--html", pages, "--overwrite", here=True)
    assert len(pages_of(pages)) == len(IDS)


@pytest.mark.slow
def test_several_processes_write_the_same_pages(models, docs, tmp_path) -> None:
    for processes in (1, 2):
        job = ["--model", models["both"], "--input", docs, "--output", tmp_path / f"o{processes}"]
        job += ["--rows-per-shard", "2", "--html", tmp_path / f"pages{processes}"]
        done = run("infer.py", *job, "--html-limit", "4", processes=processes)
        assert done.returncode == 0, done.stderr
    one, two = (tmp_path / f"pages{number}" for number in (1, 2))
    names = [sorted(path.name for path in folder.iterdir()) for folder in (one, two)]
    assert names[0] == names[1] and len(names[0]) == 5
    assert pages_of(one) == pages_of(two)


KILLED = f"""
import os, runpy, signal, sys
from pathlib import Path
write, left = Path.write_bytes, int(sys.argv.pop(1))
def killed(path, content):
    global left
    left -= path.parent.name == "pages"
    if left:
        return write(path, content)
    write(path, content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
Path.write_bytes = killed
sys.path.insert(0, {str(ROOT)!r})
runpy.run_path({str(ROOT / "infer.py")!r}, run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("page", [1, 4, len(IDS) + 1], ids=["first", "middle", "index"])
def test_no_half_page_stays_after_a_kill(models, docs, tmp_path, page) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    made = {}
    for name in ("whole", "killed"):
        pages = tmp_path / name / "pages"
        pages.parent.mkdir()
        job = ["--model", models["both"], "--input", docs, "--output", tmp_path / name / "o"]
        job += ["--rows-per-shard", "2", "--html", pages]
        if name == "killed":
            assert run(script, str(page), *job).returncode == -signal.SIGKILL
            whole = [path for path in pages.iterdir() if not path.name.startswith(".")]
            assert len(whole) == page - 1
            assert all(path.read_text().rstrip().endswith("</html>") for path in whole)
            job.append("--resume")
        succeed("infer.py", *job, here=True)
        made[name] = sorted(path.name for path in pages.iterdir()), pages_of(pages)
    assert made["killed"] == made["whole"]
