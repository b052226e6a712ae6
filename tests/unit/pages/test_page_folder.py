"""A folder of pages: names for any id, lists of them, and what lies there already."""

import re
from pathlib import Path

import pytest

from hierbert.errors import RunError
from hierbert.pages.index import write_index
from hierbert.pages.page_folder import PageFolder, page_name

IDS = ["a/b", "a\\b", "../../etc/passwd", "x" * 300, "漢字", "\u202e", "\0", "\ud800", "", "CON"]
IDS += [".", "..", "a b", "a_b", "A/b", "<script>", 'a" onload="', "-rf", "index"]


def test_ids_that_are_no_names_of_files_get_some() -> None:
    names = [page_name(one, f"{number:012x}0000") for number, one in enumerate(IDS)]
    names += [page_name("a", f"{number:012x}0000") for number in (10**9, 2 * 10**9)]
    # Also where a file system knows no case.
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*-[0-9a-f]{12}\.html", name) and len(name) < 100


def test_lists_have_two_hundred_pages_each_and_lead_to_one_another() -> None:
    entry = {"labels": ["x"], "more_labels": 0, "answers": True, "probability": 0.5}
    entry |= {"characters": 12, "summary": ""}
    made: dict[str, str] = {}
    read = 0

    def entries():
        nonlocal read
        for read in range(1, 402):
            # No more are read ahead than make one list.
            assert read <= 200 * len(made) + 202
            yield f"p{read}.html", {**entry, "id": f"d{read}"}

    assert write_index(entries(), made.__setitem__) == 401
    assert list(made) == ["index.html", "index-2.html", "index-3.html"]
    links = [re.findall(r'href="([^"]+)"', page) for page in made.values()]
    pages = [[link for link in own if link.startswith("p")] for own in links]
    every = [page for own in pages for page in own]
    assert every == [f"p{number}.html" for number in range(1, 402)]
    assert list(map(len, pages)) == [200, 200, 1]
    turns = [set(own) - set(every) for own in links]
    assert turns == [{"index-2.html"}, {"index.html", "index-3.html"}, {"index-2.html"}]
    made.clear()
    assert write_index(iter([]), made.__setitem__) == 0 and list(made) == ["index.html"]


def test_pages_are_written_to_the_limit_and_listed_in_order(tmp_path: Path) -> None:
    folder = PageFolder(tmp_path / "pages", 3)
    folder.check(resume=False, overwrite=False)
    folder.start(keep=False)
    for number in (4, 2, 0, 1):
        folder.write(number, f"{number:016x}", "text", {"id": f"d{number}", "label": "x"})
    folder.finish([(f"d{n}", f"{n:016x}") for n in range(3)], 5)
    index = (folder.path / "index.html").read_text()
    assert re.findall(r"<bdi>(d\d)</bdi>", index) == ["d0", "d1", "d2"]
    assert "first 3 of 5 rows" in index
    assert len(list(folder.path.iterdir())) == 4


def test_what_is_no_page_stays(tmp_path: Path) -> None:
    folder = PageFolder(tmp_path / "pages")
    folder.start(keep=False)
    folder.write(0, "0" * 16, "text", {"id": "a"})
    page = folder.path / page_name("a", "0" * 16)
    torn = folder.path / f".{page.name}.0123abcd"
    torn.write_text("half")
    with pytest.raises(RunError, match="pages of another job"):
        folder.check(resume=False, overwrite=False)
    folder.check(resume=True, overwrite=False)
    folder.start(keep=True)
    assert page.exists() and not torn.exists()
    folder.start(keep=False)
    assert not page.exists()
    for name in ("notes.html", "my-notes-0123456789ab.html", "index.html"):
        other = folder.path / name
        other.write_text("<p>mine</p>")
        with pytest.raises(RunError, match="no page of a job"):
            folder.check(resume=True, overwrite=True)
        folder.start(keep=False)
        assert other.read_text() == "<p>mine</p>"
        other.unlink()
    link = tmp_path / "file"
    link.write_text("")
    for path, why in ((link, "no folder"), (tmp_path / "no" / "where", "there is no folder")):
        with pytest.raises(RunError, match=why):
            PageFolder(path).check(resume=False, overwrite=False)
