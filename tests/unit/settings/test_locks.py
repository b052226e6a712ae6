"""Files are whole or not there; a folder is one live process's, and no dead one's."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import ROOT

from hierbert.errors import RunError
from hierbert.files import LOCK, FolderLock, write_folder_whole, write_whole

HOLDER = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from hierbert.files import FolderLock
with FolderLock(Path(sys.argv[1]), "run_dir=there"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another live process that has the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "locked\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_and_hears_who_is_there(tmp_path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(RunError) as caught, FolderLock(tmp_path, "run_dir=mine"):
            pass
        message = str(caught.value)
        assert message.startswith("run_dir=mine is in use by process ")
        assert f"process {process.pid};" in message
        assert "\n" not in message


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / LOCK).is_file()  # what it left behind
        with FolderLock(tmp_path, "run_dir=mine"):
            assert (tmp_path / LOCK).read_text().split()[0] == str(os.getpid())


def test_a_lock_that_is_over_can_be_taken_again_and_leaves_nothing(tmp_path) -> None:
    folder = tmp_path / "made" / "here"
    for _ in range(2):
        # An error inside releases it too.
        with pytest.raises(ValueError, match="inside"), FolderLock(folder, "run_dir=mine"):
            assert [path.name for path in folder.iterdir()] == [LOCK]
            raise ValueError("inside")
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_or_was_filled_stays(tmp_path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("there", "filled"):
        with FolderLock(tmp_path / name, "run_dir=mine"):
            if name == "filled":
                (tmp_path / name / "file").touch()
    assert list((tmp_path / "there").iterdir()) == []
    assert [path.name for path in (tmp_path / "filled").iterdir()] == ["file"]


def test_one_process_cannot_take_it_twice(tmp_path) -> None:
    with FolderLock(tmp_path, "run_dir=mine"):
        with (
            pytest.raises(RunError, match=f"process {os.getpid()}"),
            FolderLock(tmp_path, "run_dir=mine"),
        ):
            pass
        # The refused one has not taken the first one's lock away.
        with pytest.raises(RunError), FolderLock(tmp_path, "run_dir=mine"):
            pass


def test_without_locks_in_the_system_the_work_goes_on(tmp_path, monkeypatch) -> None:
    def no_locks(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with FolderLock(tmp_path, "one"), FolderLock(tmp_path, "two"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_locked_is_one_clear_line_and_no_link_is_followed(tmp_path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / LOCK).symlink_to(precious)
    for folder, reason in ((precious / "folder", "Not a directory$"), (tmp_path, "")):
        with (
            pytest.raises(RunError, match=rf"^run_dir=mine cannot be locked: {reason}"),
            FolderLock(folder, "run_dir=mine"),
        ):
            pass
    assert precious.read_text() == "mine"


def test_an_unfinished_file_is_its_owners_alone_and_in_its_folder(tmp_path) -> None:
    seen = []

    def write(aside: Path) -> None:
        seen.append((aside.parent, stat.S_IMODE(aside.stat().st_mode)))
        aside.write_text("x")

    old = os.umask(0o022)
    try:
        write_whole(tmp_path / "new" / "a.json", write)
    finally:
        os.umask(old)
    assert seen == [(tmp_path / "new", 0o600)]
    assert stat.S_IMODE((tmp_path / "new" / "a.json").stat().st_mode) == 0o644
    assert os.listdir(tmp_path / "new") == ["a.json"]


def test_a_folder_stays_where_its_new_one_cannot_take_its_place(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "model"
    write_folder_whole(folder, lambda aside: (aside / "a").touch())
    replace = Path.replace

    def refused(path: Path, target: Path) -> Path:
        if target == folder and not path.name.endswith(".old"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(OSError, match="No space"):
        write_folder_whole(folder, lambda aside: (aside / "b").touch())
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "a"]
