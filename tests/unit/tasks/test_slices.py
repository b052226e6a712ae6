"""Which documents are scored together."""

from types import SimpleNamespace
from typing import Any

import pytest

from hierbert.tasks.classification import Classification
from hierbert.tasks.labels import LabelMap
from hierbert.tasks.slices import score_slices, slice_tables


def slices(values: list[Any], tokens: int = 100) -> list[tuple[Any, int]]:
    """What each slice of a column is, and of how many documents."""
    documents: Any = [SimpleNamespace(tokens=tokens, targets={"x": 1}) for _ in values]
    made = score_slices([None] * len(values), documents, {"c": values}, [], None)  # type: ignore
    rows = made["columns"]["c"]
    assert sum(row["documents"] for row in rows) == len(values)
    return [
        (row["value"] if "value" in row else row["rare_values"], row["documents"]) for row in rows
    ]


def test_rare_values_are_one_slice_and_blanks_another() -> None:
    common = ["b"] * 5 + ["a"] * 7 + [3] * 5
    assert slices(common) == [("a", 7), ("3", 5), ("b", 5)]
    # One rare value is named; of two no one learns more from each.
    assert slices([*common, "r"]) == [("a", 7), ("3", 5), ("b", 5), ("r", 1)]
    assert slices([*common, "r", "s", "s"]) == [("a", 7), ("3", 5), ("b", 5), (2, 3)]
    assert slices([*common, None, "", " "]) == [("a", 7), ("3", 5), ("b", 5), (None, 3)]
    assert slices([["p", "q"]] * 5 + [True] * 6) == [("true", 6), ('["p", "q"]', 5)]
    many = slices([f"v{number:02}" for number in range(22) for _ in range(5 + (number < 4))])
    assert len(many) == 21 and many[0] == ("v00", 6) and many[-1] == (2, 10)


@pytest.mark.parametrize(
    ("tokens", "ends"),
    [
        (0, (0, 512)),
        (512, (0, 512)),
        (513, (513, 1024)),
        (32768, (16385, 32768)),
        (32769, (32769, None)),
    ],
)
def test_every_length_is_in_one_slice(tokens, ends) -> None:
    documents: Any = [SimpleNamespace(tokens=size, targets={"x": 1}) for size in (tokens, tokens)]
    documents.append(SimpleNamespace(tokens=700, targets={"x": None}))
    (row,) = score_slices([None] * 3, documents, {}, [], None)["length"]  # type: ignore
    assert (row["from_tokens"], row["to_tokens"], row["documents"]) == (*ends, 2)


def test_a_slice_of_few_documents_has_no_interval() -> None:
    task = Classification.of(LabelMap(["a", "b"], "single_label"))
    ends = {"accuracy": {"low": 0.0, "high": 0.0}}
    rows = [
        {"value": str(count), "documents": count, "scores": {"accuracy": 0.0}, "intervals": own}
        for count, own in ((4, ends), (5, ends), (3, {}))
    ]
    (table,) = slice_tables([task], {"length": [], "columns": {"x": rows}})
    shown = [line.split(maxsplit=2)[2] for line in table.split("\n")[2:]]
    assert shown == ["0.0 [-]", "0.0 [0, 0]", "0.0 [-]"]


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
def test_a_table_is_of_79_columns_and_one_line_a_slice(kind) -> None:
    task = Classification.of(LabelMap([] if kind == "regression" else ["a", "b"], kind))
    scores = dict.fromkeys(task.metrics(), 0.123456789)
    ends = {name: {"low": 0.0123456, "high": 0.98765} for name in ("accuracy", "macro_f1", "mse")}
    rows = [
        {"value": "long " * 40, "documents": 1_234_567, "scores": scores, "intervals": ends},
        {"value": "two\nlines \x1b[31m", "documents": 5, "scores": {}},
    ]
    (table,) = slice_tables([task], {"length": [], "columns": {"name " * 40: rows}})
    lines = table.split("\n")
    assert len(lines) == 4 and max(map(len, lines)) <= 79 and "\x1b" not in table
    assert ("12.3 [1, 99]" in lines[2]) is (kind != "regression")
    assert ("0.1235 [0.012, 0.99]" in lines[2]) is (kind == "regression")
    # The name has room beside all figures.
    assert lines[2].startswith("  long long") and "1,234,567" in lines[2]
    assert lines[3].split()[-1] == "-"
