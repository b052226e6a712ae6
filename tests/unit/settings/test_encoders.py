"""Where a segment encoder's name leads: a folder, an installed package, the Hub."""

import hashlib

import pytest

from hierbert.errors import ConfigError, ModelError
from hierbert.loading import encoders
from hierbert.loading.encoders import PackagedEncoder, encoder_hint, resolve_encoder


def test_a_revision_is_one_of_the_hub(tmp_path, monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"model\.encoder_revision=v1 is for encoders of the Hub"):
        resolve_encoder(str(tmp_path), "v1")
    name = next(iter(encoders.PACKAGED_ENCODERS))

    def looked_up(package: str) -> None:
        raise AssertionError("the package has no revisions")

    monkeypatch.setattr(encoders.importlib.util, "find_spec", looked_up)
    assert resolve_encoder(name, "v1") == name
    assert "without model.encoder_revision" in encoder_hint(name, "v1")


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert resolve_encoder("~/mine") == str(tmp_path / "mine")
    with pytest.raises(ModelError, match="there is no folder ~/other"):
        resolve_encoder("~/other")


def test_a_package_brings_the_weights_that_are_expected_of_it(tmp_path, monkeypatch) -> None:
    package = tmp_path / "weights_of_ours"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model" / "model.safetensors").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    digest = hashlib.sha256(b"weights").hexdigest()
    ours = PackagedEncoder("weights_of_ours", "weights==1", "model", digest)
    missing = PackagedEncoder("weights_of_nobody", "nobody==1", "model", digest)
    packaged = {"user/ours": ours, "user/missing": missing}
    monkeypatch.setattr(encoders, "PACKAGED_ENCODERS", packaged)
    assert resolve_encoder("user/ours") == str(package / "model")
    for name in ("user/missing", "user/x"):
        assert resolve_encoder(name) == name
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ModelError, match=f"expected {digest}"):
        resolve_encoder("user/ours")


@pytest.mark.parametrize("name", [r"C:\models\bert", "D:/models", r"models\bert", "./b", "~/b"])
def test_a_path_that_is_not_there_is_no_hub_id(name) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        resolve_encoder(name)
