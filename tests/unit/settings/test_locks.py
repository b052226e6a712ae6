"""Files are whole or not there; a folder is one live process's, and no dead one's.

That another process is refused, and that a killed one holds nobody up, the contract tests of runs
and jobs hold.
"""

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from hierbert.errors import RunError
from hierbert.files import LOCK, FolderLock, write_folder_whole, write_whole


def test_the_folder_of_a_lock_goes_where_the_lock_made_it_and_nothing_came_in(tmp_path) -> None:
    (tmp_path / "there").mkdir()
    for _ in range(2):
        for name in ("there", "made/here", "filled"):
            folder = tmp_path / name
            # An error inside releases it too.
            with pytest.raises(ValueError, match="inside"), FolderLock(folder, "run_dir=mine"):
                if name == "filled":
                    (folder / "file").touch()
                raise ValueError("inside")
    assert {path.name for path in tmp_path.rglob("*")} == {"there", "filled", "file"}


def test_one_process_cannot_take_it_twice(tmp_path) -> None:
    with FolderLock(tmp_path, "run_dir=mine"):
        # The one that is refused has not taken the first one's lock away.
        for _ in range(2):
            with (
                pytest.raises(RunError, match=rf"^run_dir=two is in use by process {os.getpid()};"),
                FolderLock(tmp_path, "run_dir=two"),
            ):
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
