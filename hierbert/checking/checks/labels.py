"""Labels split by split: their balance, what is rare, what a split lacks."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from typing_extensions import override

from hierbert.checking.check import Check, register_check
from hierbert.checking.corpus import CheckedCorpus
from hierbert.checking.finding import Finding
from hierbert.errors import printable, quote, quote_all
from hierbert.tasks.classification import Classification

# The commonest label of as many documents answers nearly all of them.
_MOST_COMMON = 0.9
# Of all labels.
_MANY = 0.5
_SHOWN, _MOST_LETTERS = 12, 60


@register_check
class Labels(Check):
    """Balance of labels; what is surely a mistake is refused when they are learnt."""

    name, place = "labels", 1

    @override
    def findings(self, corpus: CheckedCorpus) -> Iterable[Finding]:
        counts = _counts(corpus)
        if counts is None:
            return
        train = counts["train"]
        labelled = {split: self._labelled(corpus, split) for split in corpus.splits}
        once = [name for name, count in train.items() if count == 1]
        if once:
            verb = "occur" if len(once) > 1 else "occurs"
            yield Finding(
                "note",
                "labels_occurring_once",
                f"{len(once):,} of {len(train):,} labels {verb} once in train, such as "
                f"{quote(once[0])}: one document teaches little",
                "join rare labels, or give more documents of them",
                {"labels": len(once)},
            )
        task = _task(corpus)
        assert task is not None
        if task.problem_type == "single_label" and labelled["train"]:
            name, count = train.most_common(1)[0]
            share = count / labelled["train"]
            if share >= _MOST_COMMON:
                yield Finding(
                    "warning",
                    "one_label_for_nearly_all",
                    f"{100 * share:.0f} % of the labelled training documents have the label "
                    f"{quote(name)}: to answer it always is right as often",
                    "look at macro-F1, not accuracy; training.class_weights=balanced weighs rare "
                    "labels more",
                    {"documents": count},
                )
        for split in ("validation", "test"):
            if split not in counts or not labelled[split]:
                continue
            lacking = [name for name, count in train.items() if count and not counts[split][name]]
            if lacking:
                verb = "have" if len(lacking) > 1 else "has"
                yield Finding(
                    "warning" if len(lacking) > _MANY * len(train) else "note",
                    f"labels_without_documents_in_{split}",
                    f"{len(lacking):,} of {len(train):,} labels {verb} no document in {split}: "
                    f"{quote_all(lacking[:5])}{' and more' * (len(lacking) > 5)}",
                    "their scores cannot be told; give documents of them, or join rare labels",
                    {"labels": len(lacking)},
                )

    def _labelled(self, corpus: CheckedCorpus, split: str) -> int:
        task = _task(corpus)
        return 0 if task is None else len(corpus.targets(task, split))

    @override
    def facts(self, corpus: CheckedCorpus) -> dict[str, Any]:
        counts = _counts(corpus)
        if counts is None:
            return {}
        return {
            name: {split: own[name] for split, own in counts.items()}
            for name, _ in counts["train"].most_common()
        }

    @override
    def table(self, facts: dict[str, Any]) -> list[list[str]]:
        if not facts:
            return []
        splits = list(next(iter(facts.values())))
        rows = [["Label", *splits]]
        # A stranger's label may be a text.
        shown = list(facts.items())
        for name, counts in shown[:_SHOWN]:
            cut = "..." if len(name) > _MOST_LETTERS else ""
            rows.append(
                [printable(name[:_MOST_LETTERS]) + cut, *(f"{counts[split]:,}" for split in splits)]
            )
        if rest := shown[_SHOWN:]:
            sums = [f"{sum(counts[split] for _, counts in rest):,}" for split in splits]
            rows.append([f"({len(rest):,} rarer labels)", *sums])
        return rows


def _task(corpus: CheckedCorpus) -> Classification | None:
    tasks = (task for task in corpus.tasks if isinstance(task, Classification))
    found = next(tasks, None)
    return found if found is not None and found.problem_type != "regression" else None


def _counts(corpus: CheckedCorpus) -> dict[str, Counter[str]] | None:
    """Documents of each label by split; None without labels that can be counted."""
    task = _task(corpus)
    if task is None:
        return None
    names = task.label_map.names
    counts: dict[str, Counter[str]] = {}
    for split in corpus.splits:
        own = counts[split] = Counter(dict.fromkeys(names, 0))
        for _, target in corpus.targets(task, split):
            own.update(names[n] for n in (target if isinstance(target, list) else [target]))
    return counts
