"""Whom the push command asks."""

from hierbert.cli.push import main
from hierbert.errors import ModelError


def test_a_dry_run_asks_nobody(tmp_path, monkeypatch) -> None:
    asked = []

    def prepare(request: object, online: bool) -> None:
        asked.append(online)
        raise ModelError("enough")

    monkeypatch.setattr("hierbert.publishing.publish.prepare", prepare)
    monkeypatch.setattr("hierbert.publishing.upload.require_token", lambda: None)
    for more in ([], ["--dry-run"]):
        assert main([str(tmp_path), "--repo", "alice/demo", *more]) == 2
    assert asked == [True, False]
