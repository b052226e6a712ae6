"""Where sentences end now and in another version: what changed, how fast, and beside others.

    python benchmarks/sentences.py --data FOLDER --before REVISION
    python benchmarks/sentences.py --before REVISION --languages

The first counts the cuts of each corpus that the two versions do not share, shows some of them
for a reader to judge, and times both, one after the other in each round. The second counts wrong
and missed cuts on the texts of twelve languages that the tests hold, also of the splitters that
happen to be installed (pysbd, sentencex, blingfire, sentence-splitter). Texts are printed, never
written.
"""

import argparse
import gzip
import importlib
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.cells import ROOT
from benchmarks.common.figures import Spread
from benchmarks.common.report import finish, table
from hierbert.model.sentences import Span, split_sentences

_FOLDER = "hierbert/model"
_LANGUAGES = ROOT / "tests" / "unit" / "model" / "data" / "languages.txt"
_CORPORA = ("20newsgroups", "cuad", "ethereum-eips", "hyperpartisan", "scisummnet", "hwv")
_ROUNDS = 5
_DOCUMENTS = 400
_CONTEXT = 90

Splitter = Callable[[str], list[Span]]


def load_version(revision: str) -> Splitter:
    """The splitter of another version.

    Args:
        revision: A folder that holds its files, or a revision of this repository.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "before"
        package.mkdir()
        names = ["sentences"]
        for name in names:  # and the files that it imports
            if Path(revision).is_dir():
                content = (Path(revision) / f"{name}.py").read_text(encoding="utf-8")
            else:
                command = ["git", "-C", str(ROOT), "show", f"{revision}:{_FOLDER}/{name}.py"]
                done = subprocess.run(command, capture_output=True, encoding="utf-8")
                if done.returncode:
                    raise SystemExit(done.stderr)
                content = done.stdout
            (package / f"{name}.py").write_text(content, encoding="utf-8")
            imported = re.findall(r"^from \.(\w+) import", content, re.MULTILINE)
            names += [each for each in imported if each not in names]
        sys.path.insert(0, folder)
        splitter: Splitter = importlib.import_module("before.sentences").split_sentences
        sys.path.remove(folder)
    return splitter


def read_texts(path: Path, count: int) -> list[str]:
    """The first texts of a corpus."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in islice(file, count)]


def changed_cuts(text: str, before: Splitter) -> tuple[list[int], list[int], int]:
    """Where only the other version begins a sentence, where only this one does, and its cuts."""
    old = {start for start, _ in before(text)[1:]}
    new = {start for start, _ in split_sentences(text)[1:]}
    return sorted(old - new), sorted(new - old), len(old)


def show_cut(text: str, position: int) -> str:
    """A cut between the characters around it, on one line."""
    left, right = text[max(0, position - _CONTEXT) : position], text[position : position + 60]
    return f"{left!r}"[1:-1] + " ‖ " + f"{right!r}"[1:-1]


def times(texts: Sequence[str], before: Splitter) -> list[float]:
    """The time of this version over that of the other one, of each round."""
    ratios = []
    for number in range(_ROUNDS):
        seconds = {}
        for splitter in (before, split_sentences) if number % 2 else (split_sentences, before):
            started = time.process_time()
            for text in texts:
                splitter(text)
            seconds[splitter] = time.process_time() - started
        ratios.append(seconds[split_sentences] / seconds[before])
    return ratios


def read_languages(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Language, text and sentences; "|" stands between these in the file."""
    language = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            language = line[3:]
        elif line and not line.startswith("#"):
            marked = line.removeprefix("? ")
            yield language, marked.replace("|", ""), marked.split("|")


def splitters_at_hand(before: Splitter) -> dict[str, Callable[[str, str], list[str]]]:
    """Ways to split a text of a language, by name: ours, those before, and what is installed."""

    def ours(splitter: Splitter) -> Callable[[str, str], list[str]]:
        return lambda text, _: [text[start:end] for start, end in splitter(text)]

    found = {"hierbert": ours(split_sentences), "before": ours(before)}
    try:
        import pysbd

        def by_pysbd(text: str, language: str) -> list[str]:
            # It has no rules for Portuguese: those of Spanish.
            name = "es" if language == "pt" else language
            return list(pysbd.Segmenter(language=name, clean=False).segment(text))

        found["pysbd"] = by_pysbd
    except ImportError:
        pass
    try:
        import sentencex

        found["sentencex"] = lambda text, language: list(sentencex.segment(language, text))
    except ImportError:
        pass
    try:
        import blingfire

        found["blingfire"] = lambda text, _: blingfire.text_to_sentences(text).split("\n")
    except ImportError:
        pass
    try:
        from sentence_splitter import SentenceSplitter, SentenceSplitterException

        def by_sentence_splitter(text: str, language: str) -> list[str]:
            try:
                splitter = SentenceSplitter(language=language)
            except SentenceSplitterException:
                splitter = SentenceSplitter(language="en")
            return list(splitter.split(text))

        found["sentence-splitter"] = by_sentence_splitter
    except ImportError:
        pass
    return found


def places(sentences: Sequence[str]) -> set[int]:
    """Where sentences begin, counted without white space, which some splitters change."""
    found, position = set(), 0
    for sentence in sentences:
        found.add(position)
        position += len("".join(sentence.split()))
    return found - {0}


def compare_languages(path: Path, before: Splitter) -> tuple[list[str], dict[str, dict[str, int]]]:
    """Lines of a table of wrong and missed cuts, and the sums of each splitter."""
    splitters = splitters_at_hand(before)
    counts: dict[str, dict[str, list[int]]] = {}
    for language, text, sentences in read_languages(path):
        wanted = places(sentences)
        row = counts.setdefault(language, {name: [0, 0] for name in splitters})
        for name, split in splitters.items():
            got = places(split(text, language))
            row[name][0] += len(got - wanted)
            row[name][1] += len(wanted - got)
    sums = {
        name: {
            "wrong": sum(row[name][0] for row in counts.values()),
            "missed": sum(row[name][1] for row in counts.values()),
        }
        for name in splitters
    }
    rows = [
        [language, *(f"{wrong} / {missed}" for wrong, missed in row.values())]
        for language, row in counts.items()
    ]
    rows.append(["all", *(f"{each['wrong']} / {each['missed']}" for each in sums.values())])
    return table(["wrong / missed", *splitters], rows), sums


def main(argv: list[str] | None = None) -> int:
    """Print what changed, and how fast both versions are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--before", required=True, help="a revision of this repository, or a folder"
    )
    parser.add_argument("--data", help="folder of the corpora: NAME/train.jsonl.gz with `text`")
    parser.add_argument("--corpora", nargs="+", default=_CORPORA, help="of the folder")
    parser.add_argument("--documents", type=int, default=_DOCUMENTS, help="of each, the first ones")
    parser.add_argument("--samples", type=int, default=20, help="cuts that are shown of each")
    parser.add_argument("--languages", action="store_true", help="the twelve languages, no corpora")
    parser.add_argument("--seed", type=int, default=0, help="of the cuts that are shown")
    parser.add_argument("--output", help="JSON file")
    options = parser.parse_args(argv)
    before = load_version(options.before)
    if options.languages:
        lines, sums = compare_languages(_LANGUAGES, before)
        finish(
            "sentences-languages",
            "Sentences of twelve languages",
            True,
            lines,
            {"sums": sums},
            output=options.output,
        )
        return 0
    if not options.data:
        parser.error("--data or --languages is needed")
    rows, values = [], {}
    for name in options.corpora:
        path = Path(options.data) / name / "train.jsonl.gz"
        texts = read_texts(path, options.documents)
        cuts, gone, made = 0, [], []
        for number, text in enumerate(texts):
            removed, added, count = changed_cuts(text, before)
            cuts += count
            gone += [(number, position, "-") for position in removed]
            made += [(number, position, "+") for position in added]
        changed = [*gone, *made]
        print(f"\n{name}: removed (-) and added (+) cuts")
        chosen = random.Random(options.seed).sample(changed, min(options.samples, len(changed)))
        for number, position, sign in sorted(chosen):
            print(f"{sign} {show_cut(texts[number], position)}")
        ratios = times(texts, before)
        values[name] = {
            "documents": len(texts),
            "characters": sum(map(len, texts)),
            "cuts_before": cuts,
            "removed": len(gone),
            "added": len(made),
            "time_ratios": ratios,
        }
        rows.append(
            [
                name,
                f"{len(texts):,}",
                f"{values[name]['characters']:,}",
                f"{cuts:,}",
                f"{len(gone):,}",
                f"{len(made):,}",
                Spread.of(ratios).show(2),
            ]
        )
    full = tuple(options.corpora) == _CORPORA and options.documents == _DOCUMENTS
    header = ["corpus", "documents", "characters", "cuts before", "removed", "added", "time"]
    print()
    finish("sentences", "Sentences", full, table(header, rows), values, output=options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
