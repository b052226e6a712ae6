"""From training to a stranger's screen, and what becomes of a push that goes wrong on the way."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from commands import ROOT, run, succeed, write_jsonl
from conftest import make_rows
from inference import save_model
from local_hub import LocalHub
from publishing import TOKEN, USERS, Worker

from hierbert import HierBertForDocuments, HierBertPredictor

pytestmark = pytest.mark.slow


def settings(folder: Path, encoder: Path, repo: str) -> list[str]:
    """A run of both heads on a handful of documents."""
    folder.mkdir(exist_ok=True)
    shutil.copytree(encoder, folder / "encoder")
    return [
        f"data.train={write_jsonl(folder / 'train.jsonl', make_rows(24, seed=1))}",
        f"data.test={write_jsonl(folder / 'test.jsonl', make_rows(8, seed=2))}",
        "data.label_column=label",
        "data.summary_column=summary",
        f"model.encoder={folder / 'encoder'}",
        f"run_dir={folder / 'run'}",
        "segmentation.max_tokens_per_segment=32",
        "summary.max_sentences=2",
        "training.epochs=2",
        f"publish.repo={repo}",
    ]


STRANGER = """
from transformers import pipeline
result = [
    pipeline(f"document-{task}", model=name, trust_remote_code=True)(texts)
    for task in ("classification", "summarization")
]
"""


def test_a_stranger_gets_the_same_answers_when_all_else_is_gone(encoders, tmp_path) -> None:
    texts = [str(row["text"]) for row in make_rows(5, seed=7, sentences=25)]
    author = tmp_path / "author"
    with LocalHub(USERS, lfs_from_bytes=30_000) as hub:
        env = hub.environment(TOKEN, author / "hf")
        cache = {"HF_HUB_DISABLE_XET": "1", "HIERBERT_CACHE": str(author / "cache")}
        arguments = settings(author, encoders["bert"], "alice/proof")
        done = succeed("train.py", *arguments, **env, **cache)
        assert "the model goes to alice/proof when the run is whole, as alice" in done.stderr
        assert TOKEN not in done.stdout + done.stderr
        predictor = HierBertPredictor.from_pretrained(author / "run" / "model", device="cpu")
        expected = list(predictor.predict(texts))
        results = json.loads((author / "run" / "results.json").read_text(encoding="utf-8"))
        folder = {path.name: path.read_bytes() for path in (author / "run" / "model").iterdir()}
        hub.add("alice/hand", folder)
        shutil.rmtree(author)
        (tmp_path / "stranger").mkdir()
        with Worker(tmp_path / "stranger", hub, hierbert=False) as stranger:
            labels, summaries = stranger.run(STRANGER, name="alice/proof", texts=texts).result
            # The folder of a run, copied to the Hub by hand, loads too.
            by_hand = stranger.run(STRANGER, name="alice/hand", texts=texts).result
        files = hub.files("alice/proof")
    assert by_hand == [labels, summaries]
    assert len({tuple(own.probabilities.values()) for own in expected}) == 5
    for own, label, summary in zip(expected, labels, summaries, strict=True):
        assert label["label"] == own.label
        assert label["probabilities"] == pytest.approx(own.probabilities, abs=1e-6)
        assert summary["summary"] == own.summary and len(own.sentences) == 2
        for found, sentence in zip(summary["sentences"], own.sentences, strict=True):
            assert (found["start"], found["end"]) == (sentence.start, sentence.end)
            assert found["score"] == pytest.approx(sentence.score, abs=1e-6)
    # The run's own folder was complete: the page adds its card, results and settings only.
    added = {"README.md", "results.json", "config.resolved.yaml", ".gitattributes"}
    assert files.keys() - folder.keys() == added
    assert json.loads(files["results.json"]) == results
    assert yaml.safe_load(files["config.resolved.yaml"])["data"]["train"] == "train.jsonl"
    card = files["README.md"].decode()
    assert str(tmp_path) not in card + files["config.resolved.yaml"].decode()
    # The encoder was a folder: that is remembered, not where it was.
    assert json.loads(files["config.json"])["text_config"]["_name_or_path"] == "./encoder"
    took, scores = results["resources"], results["scores"]
    for line in (
        f"| film | {results['label_counts']['film']} | 4 |",
        f"| reading and answering, tokens/s | {took['scoring_tokens_per_second']:,.0f} |",
        f"| training, tokens/s | {took['training_tokens_per_second']:,.0f} |",
        f"| peak memory of the process, MiB | {took['peak_memory_mib']:,.0f} |",
    ):
        assert f"\n{line}\n" in card, line
    low, high = (100 * results["intervals"]["accuracy"][end] for end in ("low", "high"))
    shown = f"| Accuracy | {100 * scores['accuracy']:.1f} | {low:.1f} to {high:.1f} |"
    assert shown in card and "| **this model** |" in card


def test_a_push_that_fails_loses_no_run_and_says_how_to_push_again(encoders, tmp_path) -> None:
    with LocalHub(dict(USERS)) as hub:
        env = {**hub.environment(TOKEN, tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
        arguments = settings(tmp_path / "author", encoders["bert"], "bob/theirs")
        done = run("train.py", *arguments, "baselines=false", **env)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        error = done.stderr.splitlines()[-1]
        folder = tmp_path / "author" / "run"
        assert error.startswith(f"error: the run is whole in {folder}, but its model was not push")
        assert "(403)" in error and json.loads((folder / "results.json").read_text())["scores"]
        HierBertPredictor.from_pretrained(folder / "model", device="cpu").classify("The film.")
        command = shlex.split(re.findall(r"Push it with: (python .*)$", error)[0])
        assert command[0] == "python"
        # The token becomes one of Bob's, and the very command that was printed works.
        hub.users[TOKEN] = "bob"
        again = subprocess.run(
            [sys.executable, *command[1:]],
            capture_output=True,
            text=True,
            env={**os.environ, **env},
            check=False,
        )
        assert again.returncode == 0, again.stderr
        weights = (folder / "model" / "model.safetensors").read_bytes()
        assert hub.files("bob/theirs")["model.safetensors"] == weights


def test_a_refused_token_is_told_before_training(encoders, tmp_path) -> None:
    with LocalHub(USERS) as hub:
        env = hub.environment("hf_wrongSecretToken", tmp_path / "hf")
        done = run("train.py", *settings(tmp_path / "author", encoders["bert"], "alice/x"), **env)
    assert done.returncode == 2 and "refuses this token (401)" in done.stderr
    assert "hf_wrong" not in done.stdout + done.stderr
    assert not (tmp_path / "author" / "run").exists()


def test_a_killed_upload_goes_on_where_it_was(encoders, tmp_path) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"])
    loaded = HierBertForDocuments.from_pretrained(folder, dtype=torch.float32)
    (folder / "model.safetensors").unlink()
    loaded.save_pretrained(folder, max_shard_size="60KB")
    large = [path for path in folder.iterdir() if path.stat().st_size >= 30_000]
    assert len(large) > 3
    clients: list[subprocess.Popen[str]] = []

    def kill_at_the_third(stored: int) -> None:
        if stored == 2:
            os.kill(clients[0].pid, signal.SIGKILL)
            raise ConnectionError

    with LocalHub(USERS, lfs_from_bytes=30_000, before_store=kill_at_the_third) as hub:
        env = {**os.environ, **hub.environment(TOKEN, tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
        env |= {"HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "hierbert.publishing", str(folder), "--repo", "alice/big"]

        def push() -> int:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            clients.insert(0, subprocess.Popen(command, text=True, env=env, **quiet))
            return clients[0].wait()

        assert push() == -signal.SIGKILL
        assert hub.stored == 2 and len(hub.commits("alice/big")) == 1
        hub.before_store = None
        assert push() == 0
        # Each is stored once. Requests are not counted: the killed client's may still come in.
        assert hub.stored == len(large)
        assert len(hub.commits("alice/big")) == 2
        files = hub.files("alice/big")
        assert all(files[path.name] == path.read_bytes() for path in large)


def test_without_a_network_one_line_says_so(encoders, tmp_path) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"])
    with LocalHub(USERS) as hub:
        pass
    (tmp_path / "home").mkdir()
    with Worker(tmp_path / "home", hub, hierbert=True) as author:
        error = author.push(folder, "--repo", "alice/none").error
    assert error.startswith(f"{hub.url} cannot be reached, or the connection broke off")
    assert error.endswith("the same command goes on") and TOKEN not in error
