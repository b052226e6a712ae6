"""Odd labels, from the file to the number: they are names, or one line refuses them."""

import pytest
from hostile_data import line, read

from hierbert.data.columns import Columns
from hierbert.errors import DataError
from hierbert.tasks.labels import LabelMap


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["1", "01", "1"], ["01", "1"]),
        (["2024-01-01", "12:30"], ["12:30", "2024-01-01"]),
        ([1, 0, -0.0], ["0", "1"]),
        (["true", "false"], ["false", "true"]),
        ([True, False], ["false", "true"]),
        (["null", "nan", "None"], ["None", "nan", "null"]),
        (["1e5", "100000", "0x10"], ["0x10", "100000", "1e5"]),
        ([10**400, 1], ["1", "1" + "0" * 400]),
        (["a", "a "], ["a", "a "]),
        (["<script>", "a|b", "../x"], ["../x", "<script>", "a|b"]),
        (["no", "yes", "\ud800"], ["no", "yes", "\ud800"]),
    ],
)
def test_labels_that_look_like_something_else_are_names(tmp_path, labels, names) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"".join(line("a", label=label) for label in labels))
    examples = list(read(path, keep_broken=False, columns=Columns(fields={"label": "label"})))
    learned = LabelMap.learn(examples)
    assert learned.names == names
    assert {learned.encode(example) for example in examples} == set(range(len(names)))


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([True, 1], "mixes types: .*line 1 has True .*line 2 has 1"),
        (["1", 1], "mixes types"),
        ([["a"], "a"], r"mixes types: .* \(a list\), "),
        ([1, 1.0], r"has 1 label \('1'\)"),
        (["law", None], r"has 1 label \('law'\)"),
        ([0.5, 1], "set data.label_type to regression"),
        (["a", "a"], r"has 1 label \('a'\); single_label needs at least 2"),
        ([None, ""], "no document has a label"),
        ([{"a": 1}, "b"], "holds {'a': 1}"),
    ],
)
def test_labels_that_cannot_be_classes(tmp_path, labels, reason) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"".join(line("a", label=label) for label in labels))
    with pytest.raises(DataError, match=reason):
        LabelMap.learn(read(path, keep_broken=False, columns=Columns(fields={"label": "label"})))


@pytest.mark.parametrize("name", ["new", "A", "x" * 1_000_000, "\ud800", 3])
def test_unknown_labels_name_the_row_and_what_is_known(tmp_path, name) -> None:
    path = tmp_path / "validation.jsonl"
    path.write_bytes(line("a", label="a") + line("b", label=name))
    _, odd = read(path, keep_broken=False, columns=Columns(fields={"label": "label"}))
    with pytest.raises(DataError) as caught:
        LabelMap(["a", "b"], "single_label").encode(odd)
    message = str(caught.value)
    assert f"{path}, line 2" in message and "allowed are 'a', 'b'" in message
    assert len(message) < len(str(path)) + 300
