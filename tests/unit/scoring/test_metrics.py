import os
import subprocess
import sys

import numpy as np
import pytest
from hierbert.evaluation.bootstrap import mean_interval, paired_difference
from hierbert.evaluation.classification import (
    MultiLabel,
    Regression,
    SingleLabel,
    confusion_matrix,
    multi_label_scores,
    per_label_table,
    regression_scores,
    single_label_scores,
)
from hierbert.evaluation.rouge import ROUGE_TYPES, Rouge, rouge_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats
from sklearn import metrics

fast = settings(deadline=None, max_examples=60)
ascii_summaries = st.one_of(
    st.lists(
        st.sampled_from(["the", "cats", "cat", "sat.", "running", "ran", "\n", "U.S."]), max_size=15
    ).map(" ".join),
    st.text(st.characters(max_codepoint=127), max_size=40),
)


# --- ROUGE


@fast
@given(ascii_summaries, ascii_summaries)
def test_rouge_of_ascii_text_is_that_of_rouge_score(prediction, reference):
    expected = RougeScorer(list(ROUGE_TYPES), use_stemmer=True).score(reference, prediction)
    got = rouge_scores([prediction], [reference])
    assert {name: values[0] for name, values in got.items()} == {
        name: score.fmeasure for name, score in expected.items()
    }


@pytest.mark.parametrize(
    "text",
    [
        "हिन्दी में लिखा हुआ वाक्य।\nदूसरा वाक्य है।",
        "这是一个句子。\n这是另一个。",
        "Это первое предложение.\nА это второе.",
        "นี่คือประโยค\nนี่คืออีกประโยค",
    ],
)
def test_text_of_any_script_is_like_itself_and_unlike_another(text):
    for values in rouge_scores([text], [text]).values():
        assert values.tolist() == [1.0]
    for values in rouge_scores([text], ["ελληνικά γράμματα"]).values():
        assert values.tolist() == [0.0]


def test_rouge_counts_in_other_scripts():
    # 2 of 3 words and 1 of 2 bigrams are shared.
    got = rouge_scores(["мама мыла раму"], ["мама мыла окно"])
    assert got["rouge1"][0] == pytest.approx(2 / 3)
    assert got["rouge2"][0] == pytest.approx(1 / 2)


def test_rouge_lsum_takes_lines_for_sentences():
    got = rouge_scores(["c d\na b"], ["a b\nc d"])
    assert got["rougeLsum"][0] == 1.0
    assert got["rougeL"][0] == 0.5


def test_empty_summaries_score_zero_and_count_in_the_mean():
    got = Rouge().compute(predictions=["", "a b"], references=["a b", "a b"])
    assert got == dict.fromkeys(ROUGE_TYPES, 0.5)
    assert rouge_scores([""], [""])["rouge1"].tolist() == [0.0]


def test_rouge_can_leave_out_the_slow_types_and_the_stemmer():
    assert list(rouge_scores(["a"], ["a"], rouge_types=["rouge2"])) == ["rouge2"]
    got = Rouge().compute(
        predictions=["running"], references=["runs"], rouge_types=["rouge1"], use_stemmer=False
    )
    assert got == {"rouge1": 0.0}


def test_rouge_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="1 predictions, but 2 references"):
        rouge_scores(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="rouge type 'rouge7' is not allowed"):
        rouge_scores(["a"], ["a"], rouge_types=["rouge7"])
    with pytest.raises(ValueError, match="no documents"):
        Rouge().compute(predictions=[], references=[])


# --- one label


label_pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


@fast
@given(label_pairs)
def test_single_label_scores_are_those_of_scikit_learn(pairs):
    predictions, references = (list(side) for side in zip(*pairs, strict=True))
    expected = {"accuracy": metrics.accuracy_score(references, predictions)}
    for average in ("macro", "micro", "weighted"):
        expected[f"{average}_f1"] = metrics.f1_score(
            references, predictions, average=average, zero_division=0
        )
    assert single_label_scores(predictions, references) == pytest.approx(expected)
    assert SingleLabel().compute(predictions=predictions, references=references) == pytest.approx(
        expected
    )


@fast
@given(label_pairs)
def test_label_table_and_confusions_are_those_of_scikit_learn(pairs):
    predictions, references = (list(side) for side in zip(*pairs, strict=True))
    names = list("abcde")
    expected = metrics.confusion_matrix(references, predictions, labels=range(5))
    assert confusion_matrix(predictions, references, 5).tolist() == expected.tolist()
    columns = metrics.precision_recall_fscore_support(
        references, predictions, labels=range(5), zero_division=0
    )
    table = per_label_table(predictions, references, names)
    assert [row["label"] for row in table] == names
    for name, column in zip(("precision", "recall", "f1", "support"), columns, strict=True):
        assert [row[name] for row in table] == pytest.approx(column.tolist())
    assert [row["predicted"] for row in table] == expected.sum(0).tolist()


def test_macro_f1_leaves_out_labels_that_do_not_occur():
    # Label 1 occurs nowhere; label 0 has F1 2/3 (1 hit, 1 missed), label 2 has 2/3.
    assert single_label_scores([0, 2, 2], [0, 0, 2])["macro_f1"] == pytest.approx(2 / 3)


def test_single_label_scores_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="1 predictions, but 2 references"):
        single_label_scores([0], [0, 1])
    with pytest.raises(ValueError, match="no documents"):
        single_label_scores([], [])
    with pytest.raises(ValueError, match="whole label numbers"):
        single_label_scores([0.5], [1])
    with pytest.raises(ValueError, match="label number -100"):
        single_label_scores([0], [-100])
    with pytest.raises(ValueError, match="reference 3 is not a label: 0 to 2"):
        confusion_matrix([0], [3], 3)


# --- several labels


@st.composite
def label_tables(draw):
    documents, labels = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    size = documents * labels
    levels = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
    scores = draw(st.lists(levels, min_size=size, max_size=size))
    truth = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    shape = (documents, labels)
    thresholds = draw(
        st.one_of(st.sampled_from([0.5, 0.3]), st.lists(levels, min_size=labels, max_size=labels))
    )
    return np.reshape(scores, shape), np.reshape(truth, shape), thresholds


@fast
@given(label_tables())
def test_multi_label_scores_are_those_of_scikit_learn(tables):
    scores, truth, thresholds = tables
    predicted = np.where(scores >= np.asarray(thresholds), 1, 0)
    present = [c for c in range(truth.shape[1]) if predicted[:, c].any() or truth[:, c].any()]
    # One column more keeps scikit-learn from taking a single label for a binary problem.
    wide_truth, wide_predicted = (np.pad(t, ((0, 0), (0, 1))) for t in (truth, predicted))
    expected = {"subset_accuracy": metrics.accuracy_score(wide_truth, wide_predicted)}
    for average in ("macro", "micro", "weighted"):
        expected[f"{average}_f1"] = (
            metrics.f1_score(
                wide_truth, wide_predicted, average=average, labels=present, zero_division=0
            )
            if present
            else 0.0
        )
    expected["samples_f1"] = metrics.f1_score(
        wide_truth, wide_predicted, average="samples", zero_division=1
    )
    precisions = [
        metrics.average_precision_score(truth[:, c], scores[:, c])
        for c in range(truth.shape[1])
        if truth[:, c].any()
    ]
    expected["map"] = np.mean(precisions) if precisions else 0.0
    assert multi_label_scores(scores, truth, thresholds) == pytest.approx(expected)
    assert MultiLabel().compute(
        predictions=scores.tolist(), references=truth.tolist(), thresholds=thresholds
    ) == pytest.approx(expected)


def test_multi_label_means_leave_out_labels_that_do_not_occur():
    # Label 0 is right, label 1 claimed wrongly (F1 0), label 2 occurs nowhere.
    scores = multi_label_scores([[0.9, 0.8, 0.1]], [[1, 0, 0]])
    assert scores["macro_f1"] == 0.5
    assert scores["map"] == 1.0


def test_label_table_takes_several_labels_per_document():
    table = per_label_table([[1, 0], [1, 1], [0, 0]], [[1, 0], [0, 1], [0, 1]], ["x", "y"])
    assert table == [
        {"label": "x", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3)}
        | {"support": 1, "predicted": 2},
        {"label": "y", "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3)}
        | {"support": 2, "predicted": 1},
    ]


def test_multi_label_scores_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"probabilities are \(1, 2\), but references \(1, 1\)"):
        multi_label_scores([[0.1, 0.2]], [[1]])
    with pytest.raises(ValueError, match="probability of document 1 is nan"):
        multi_label_scores([[0.1], [np.nan]], [[1], [0]])
    with pytest.raises(ValueError, match="label 2 is not allowed"):
        multi_label_scores([[0.1]], [[2]])
    with pytest.raises(ValueError, match="3 thresholds for 1 labels"):
        multi_label_scores([[0.1]], [[1]], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="do not go with 1 labels"):
        per_label_table([[1, 0]], [[1, 0]], ["x"])


# --- numbers

numbers = st.sampled_from([-2.0, -0.5, 0.0, 0.1, 1.0, 3.5])


@fast
@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=20))
def test_regression_scores_are_those_of_scikit_learn_and_scipy(pairs):
    predictions, references = (list(side) for side in zip(*pairs, strict=True))
    constant = len(set(predictions)) == 1 or len(set(references)) == 1
    expected = {
        "mse": metrics.mean_squared_error(references, predictions),
        "mae": metrics.mean_absolute_error(references, predictions),
        "pearson": 0.0 if constant else stats.pearsonr(predictions, references)[0],
        "spearman": 0.0 if constant else stats.spearmanr(predictions, references)[0],
    }
    if len(set(references)) == 1:
        expected["r2"] = float(predictions == references)
    else:
        expected["r2"] = metrics.r2_score(references, predictions)
    assert regression_scores(predictions, references) == pytest.approx(expected, abs=1e-9)
    assert Regression().compute(predictions=predictions, references=references) == pytest.approx(
        expected, abs=1e-9
    )


def test_regression_scores_refuse_what_is_not_finite():
    with pytest.raises(ValueError, match="prediction of document 1 is inf"):
        regression_scores([1, np.inf], [1, 2])


# --- every metric


def test_a_metric_takes_rows_in_parts_and_forgets_them():
    metric = SingleLabel()
    metric.add_batch(predictions=[0, 1], references=[0, 0])
    metric.add(prediction=1, reference=1)
    assert metric.compute()["accuracy"] == pytest.approx(2 / 3)
    assert metric.compute(predictions=[1], references=[1])["accuracy"] == 1.0


def test_a_failed_score_leaves_no_rows_behind():
    metric = MultiLabel()
    with pytest.raises(ValueError, match="label 7"):
        metric.compute(predictions=[[0.5]], references=[[7]])
    assert metric.compute(predictions=[[0.5]], references=[[1]])["micro_f1"] == 1.0


@pytest.mark.parametrize("metric_class", [Rouge, SingleLabel, MultiLabel, Regression])
def test_metrics_make_no_cache_files(tmp_path, monkeypatch, metric_class):
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path / "metrics"))
    metric = metric_class(cache_dir=str(tmp_path / "given"))
    rows = {Rouge: ["a"], SingleLabel: [1], MultiLabel: [[1]], Regression: [0.5]}[metric_class]
    metric.add_batch(predictions=rows, references=rows)
    assert metric.cache_file_name is None
    metric.compute()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # importing evaluate anew takes about ten seconds
def test_metrics_work_where_the_home_folder_cannot_be_written(tmp_path):
    home = tmp_path / "home"
    home.write_text("a file where a folder would have to be made")
    program = (
        "from hierbert.evaluation.rouge import Rouge\n"
        "from hierbert.evaluation.classification import SingleLabel\n"
        "print(Rouge().compute(predictions=['a'], references=['a'])['rouge1'],"
        " SingleLabel().compute(predictions=[1], references=[1])['accuracy'])"
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))
    }
    environment |= {
        "HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "1.0 1.0\n", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


# --- intervals


def test_interval_has_the_width_that_theory_gives():
    # 400 values of deviation 1: the mean's deviation is 1/20, 95 % lie within 1.96 of them.
    values = np.tile([-1.0, 1.0], 200) + 5.0
    mean, low, high = mean_interval(values, seed=1, samples=4000)
    assert mean == 5.0
    assert high - mean == pytest.approx(1.96 / 20, rel=0.1)
    assert mean - low == pytest.approx(1.96 / 20, rel=0.1)
    _, narrow_low, narrow_high = mean_interval(values, seed=1, confidence=0.5, samples=4000)
    assert narrow_high - narrow_low == pytest.approx(2 * 0.674 / 20, rel=0.1)


def test_interval_depends_on_the_seed_alone_and_leaves_the_global_state():
    values = np.arange(50.0)
    np.random.seed(3)
    state = np.random.get_state()[1].copy()
    assert mean_interval(values, seed=7) == mean_interval(values, seed=7)
    assert mean_interval(values, seed=7) != mean_interval(values, seed=8)
    assert (np.random.get_state()[1] == state).all()


def test_interval_is_the_same_however_the_draws_are_grouped(monkeypatch):
    values = np.arange(20.0)
    whole = mean_interval(values, seed=7)
    monkeypatch.setattr("hierbert.evaluation.bootstrap._VALUES_AT_ONCE", 70)
    assert mean_interval(values, seed=7) == pytest.approx(whole)


def test_paired_difference_sees_what_is_there_and_what_is_not():
    noise = np.random.default_rng(0).normal(size=200)
    second = np.random.default_rng(1).normal(size=200)
    difference, low, high, p = paired_difference(second + 1 + 0.1 * noise, second, seed=5)
    assert difference == pytest.approx(1 + 0.1 * noise.mean())
    assert 0.9 < low < difference < high < 1.1
    assert p == 1 / 1001
    *_, p = paired_difference(np.tile([1.0, -1.0], 50), np.zeros(100), seed=5)
    assert p == 1.0


def test_paired_p_is_that_of_a_normal_test():
    # The mean is 1.5 of its own deviations from 0: two-sided p of 0.134.
    values = np.tile([-1.0, 1.0], 200) + 1.5 / 20
    *_, p = paired_difference(values, np.zeros(400), seed=2, samples=4000)
    assert p == pytest.approx(2 * stats.norm.sf(1.5), abs=0.02)


def test_same_scores_differ_by_nothing():
    assert paired_difference([0.1, 0.7], [0.1, 0.7], seed=0) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_interval([], seed=0),
        lambda: mean_interval([np.nan], seed=0),
        lambda: mean_interval([1.0], seed=0, confidence=1.0),
        lambda: mean_interval([1.0], seed=0, samples=0),
        lambda: paired_difference([1.0], [1.0, 2.0], seed=0),
    ],
)
def test_intervals_refuse_what_is_not_allowed(call):
    with pytest.raises(ValueError):
        call()
