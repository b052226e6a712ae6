"""What is asked of hierbert before a model is needed is answered without torch."""

import json
import subprocess
import sys

import pytest
from commands import ROOT

from hierbert import registration
from hierbert.cli.main import COMMANDS, main
from hierbert.model.pipeline_hierbert import PIPELINES

SCRIPT = """
import contextlib, io, json, sys
import hierbert
from hierbert.cli.main import main

answers = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = stop.code
    loaded = [name for name in ("torch", "transformers", "datasets") if name in sys.modules]
    answers.append([code or 0, out.getvalue(), err.getvalue(), loaded])
print(json.dumps(answers))
"""

CASES = [
    (["train", "--help"], 0, "data.text_column"),
    (["infer", "--help"], 0, "--text-column"),
    (["evaluate", "--help"], 0, "--by"),
    (["push", "--help"], 0, "--repo"),
    (["train", "--version"], 0, "hierbert "),
    (["train", "--config", "configs/quickstart.yaml", "--print-config"], 0, "data:"),
    (["train", "--nosuch"], 2, "--nosuch"),
    (["train", "--config", "configs/quickstart.yaml", "data.text_colum=x"], 2, "text_column"),
    (["train", "--config", "configs/quickstart.yaml", "training.epochs=-1"], 2, "epochs"),
    (["infer", "--model", "m", "--input", "i"], 2, "--output"),
    (["infer", "--model", "m", "--input", "i", "--output", "o.txt"], 2, "o.txt"),
    (["evaluate", "--model", "m"], 2, "--input"),
    (["evaluate", "--model", "m", "--input", "i", "--output", "hierbert"], 2, "hierbert"),
    (["push", "m", "--repo", "a//b"], 2, "a//b"),
]


def test_help_and_mistakes_are_answered_without_torch() -> None:
    asked = json.dumps([arguments for arguments, _, _ in CASES])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, asked], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for (arguments, code, text), answer in zip(CASES, json.loads(done.stdout), strict=True):
        assert (answer[0], answer[3]) == (code, []), arguments
        assert text in answer[1 if code == 0 else 2], arguments


@pytest.mark.parametrize(
    "first",
    [
        "import hierbert",
        pytest.param(
            "from hierbert.model.pipeline_hierbert import DocumentPipeline", marks=pytest.mark.slow
        ),
    ],
)
def test_transformers_knows_hierbert_also_when_it_is_imported_later(first) -> None:
    # In the other order, transformers first, all tests of this folder run.
    script = f"""
{first}
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.pipelines import check_task
import hierbert
from hierbert.model.pipeline_hierbert import PIPELINES

config = AutoConfig.for_model("hierbert")
assert type(config) is hierbert.HierBertConfig
for auto, known in (
    (AutoModel, hierbert.HierBertModel),
    (AutoModelForSequenceClassification, hierbert.HierBertForDocuments),
):
    assert auto._model_mapping[type(config)] is known
assert PROCESSOR_MAPPING[type(config)] is hierbert.HierBertProcessor
for task, pipeline in PIPELINES.items():
    found = check_task(task)[1]
    assert found["impl"] is pipeline and found["pt"] == (AutoModelForSequenceClassification,)
    assert pipeline._registered_impl == {{task: found}}
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_every_pipeline_is_registered() -> None:
    assert set(registration._PIPELINES) == set(PIPELINES)


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--quiet", "--help"]])
def test_the_commands_are_listed(arguments, capsys) -> None:
    assert main(arguments) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in COMMANDS)


@pytest.mark.parametrize("flags", [[], ["--log-level", "error"], ["--quiet"]])
def test_the_flags_of_the_log_may_come_first(flags, capsys) -> None:
    assert main([*flags, "trian"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "'trian'" in error and "'train'" in error
    assert main([*flags, "--log-json", "train", "--nosuch"]) == 2
    assert "--nosuch" in json.loads(capsys.readouterr().err)["message"]
