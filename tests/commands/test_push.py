"""``ssl_dml push`` where there is no network, no token, and a hub that refuses."""

import huggingface_hub
import pytest

from ssl_dml.commands import push
from ssl_dml.types import ConfigError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "README.md").write_text("# a")
    return tmp_path


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")


def pushed(folder, repo="me/mine"):
    push.main([str(folder), "--repo", repo])


def test_without_network_it_says_so(folder, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE is set, and a push needs the network"):
        pushed(folder)


def test_without_token_it_says_so(folder, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ConfigError, match="there is no token of the hub: run hf auth login"):
        pushed(folder)


def test_a_hub_that_cannot_be_reached_is_one_line(folder, monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(ConfigError, match="not uploaded to me/mine: no route to host; push again"):
        pushed(folder)


def test_it_uploads_the_folder(folder, monkeypatch, capsys):
    calls = []
    api = huggingface_hub.HfApi
    monkeypatch.setattr(api, "create_repo", lambda _, repo, **given: calls.append((repo, given)))
    monkeypatch.setattr(api, "upload_folder", lambda _, **given: calls.append(given) or "https://x")
    pushed(folder)
    assert calls[0] == ("me/mine", {"private": True, "exist_ok": True})
    assert (calls[1]["folder_path"], calls[1]["repo_id"]) == (folder, "me/mine")
    assert capsys.readouterr().out == "uploaded: https://x\n"


@pytest.mark.parametrize("repo", ["mine", "a/b/c", "a b/c"])
def test_a_wrong_name_is_told(folder, repo):
    with pytest.raises(ConfigError, match="--repo must be USER/NAME"):
        pushed(folder, repo)


def test_a_folder_without_a_card_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"has no README\.md; ssl_dml export --to hub writes"):
        pushed(tmp_path)
