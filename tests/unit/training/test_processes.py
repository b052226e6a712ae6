"""Training by several processes of which one never comes: the others do not wait for ever."""

import socket
from datetime import timedelta

from small_runs import small_run
from training import error_of

from hierbert.prediction import processes


def test_a_process_that_never_comes_is_one_line(encoders, tmp_path, monkeypatch, capsys) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "_RENDEZVOUS", timedelta(seconds=0.3))
    error = error_of(capsys, small_run(tmp_path, encoders["bert"])())
    assert "WORLD_SIZE is 2" in error and "torchrun" in error
    assert not (tmp_path / "run").exists()
