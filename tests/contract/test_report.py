"""report.html and report.md of runs and evaluations, and `hierbert report`."""

import json
import re
from pathlib import Path

import pytest
from commands import succeed, write_jsonl
from conftest import make_rows
from small_runs import small_run

HELD_BACK = "A word that stands in no other place is zyzzyva."


@pytest.fixture(scope="module")
def folder(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with both heads that writes its report, and an evaluation of its model."""
    folder = tmp_path_factory.mktemp("reported")
    settings = small_run(folder, encoders["bert"])
    rows = make_rows(5, seed=3)
    for row in rows:
        row["text"] = f"{HELD_BACK} {row['text']}"
        # Every answer is wrong, so that some document is quoted.
        row["label"] = "law" if row["label"] != "law" else "film"
    write_jsonl(folder / "test.jsonl", rows)
    more = ["data.summary_column=summary", "report=full", "training.epochs=1"]
    done = succeed("train.py", *settings(*more), here=True)
    assert f"report: {folder / 'run/report.html'}" in done.stderr
    evaluated = ["--model", folder / "run/model", "--input", folder / "test.jsonl"]
    pages = [*evaluated, "--output", folder / "with-pages", "--no-baselines", "--report", "pages"]
    succeed("hierbert-evaluate", *pages, here=True)
    evaluated += ["--output", folder / "evaluated", "--no-baselines"]
    succeed("hierbert-evaluate", *evaluated, "--report", "without-excerpts", here=True)
    return folder


def test_a_run_and_an_evaluation_write_their_report(folder) -> None:
    for name in ("run", "evaluated"):
        text = (folder / name / "report.md").read_text(encoding="utf-8")
        page = (folder / name / "report.html").read_text(encoding="utf-8")
        assert text.startswith(f"# Report: {name}\n") and "cannot be told" not in text
        assert page.startswith("<!DOCTYPE html>") and len(page) < 1_000_000
        for title in ("At a glance", "Scores", "Labels", "Probabilities", "Lengths and parts"):
            assert f"## {title}\n" in text and f">{title}</h2>" in page, title
    assert "## Training\n" in (folder / "run/report.md").read_text(encoding="utf-8")


def test_texts_are_in_the_full_report_alone(folder) -> None:
    holding = {
        path.relative_to(folder).as_posix()
        for name in ("run", "evaluated")
        for path in (folder / name).glob("*.*")
        if path.is_file() and b"zyzzyva" in path.read_bytes()
    }
    assert holding == {"run/report.html", "run/report.md"}
    text = (folder / "evaluated/report.md").read_text(encoding="utf-8")
    assert "Excerpts of documents are left out" in text


def test_each_mistake_has_a_page_where_that_is_asked_for(folder) -> None:
    text = (folder / "with-pages/report.md").read_text(encoding="utf-8")
    page = (folder / "with-pages/report.html").read_text(encoding="utf-8")
    links = re.findall(r"\]\((pages/[^)]+)\)", text)
    assert links and len(links) == len(set(links))
    for link in links:
        written = (folder / "with-pages" / link).read_text(encoding="utf-8")
        assert f'href="{link}"' in page and "zyzzyva" in written and "logit" in written
    assert not (folder / "evaluated/pages").exists()


def test_a_push_leaves_the_report_at_home(folder) -> None:
    done = succeed(
        "hierbert-push", folder / "run/model", "--repo", "user/name", "--dry-run", here=True
    )
    assert "results.json" in done.stdout
    assert "report.html" not in done.stdout and "report.md" not in done.stdout


def test_the_command_shows_one_and_compares_two(folder) -> None:
    one = succeed("hierbert-report", folder / "run", here=True)
    assert one.stdout.startswith("# Report: run\n") and "zyzzyva" not in one.stdout
    output = folder / "compared"
    both = [folder / "run", folder / "evaluated"]
    two = succeed("hierbert-report", *both, "--output", output, here=True)
    assert two.stdout.startswith("# 2 runs compared\n") and "There are no settings" in two.stdout
    # The same model on the same documents: no difference in any figure.
    assert "+0.0 (+0.0 to +0.0)" in two.stdout and "better" not in two.stdout
    assert {path.name for path in output.iterdir()} == {"report.html", "report.md"}


def test_an_evaluation_that_replaces_another_leaves_no_old_report(folder) -> None:
    asked = ["--model", folder / "run/model", "--input", folder / "test.jsonl", "--overwrite"]
    asked += ["--output", folder / "twice", "--no-baselines"]
    succeed("hierbert-evaluate", *asked, here=True)
    assert (folder / "twice/report.html").is_file()
    succeed("hierbert-evaluate", *asked, "--report", "none", here=True)
    names = {path.name for path in (folder / "twice").iterdir()}
    assert names == {"answers.jsonl", "results.json"}
    rows = (folder / "twice/answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["classification"]["true"] for row in rows]
