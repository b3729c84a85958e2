import errno
import json
import os
import pickle
import shutil
import stat

import numpy as np
import pytest
import torch
from torch import nn

from ssl_dml.reading import digest
from ssl_dml.stops import NonFiniteError
from ssl_dml.training import Checkpoints
from ssl_dml.training.checkpoint import read_metadata
from ssl_dml.training.manifest import write_metadata

METADATA = {"data": "abc", "samples": 10}


def made():
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    return {"model": model, "optimizer": optimizer}


@pytest.fixture
def store(tmp_path):
    return Checkpoints(tmp_path / "checkpoints", keep=2)


def silent(_):
    pass


def test_round_trip(store):
    parts = made()
    store.save(7, parts, METADATA)
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    others = made()
    assert store.resume(others, METADATA, say=silent) == 7
    for a, b in zip(parts["model"].parameters(), others["model"].parameters(), strict=True):
        assert torch.equal(a, b)
    momenta = [p["optimizer"].state_dict()["state"][0]["momentum_buffer"] for p in (parts, others)]
    assert torch.equal(*momenta)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])  # noqa: NPY002


def test_the_newest_are_kept(store):
    for step in (9, 10, 100, 20):
        store.save(step, made(), METADATA)
    assert sorted(path.name for path in store.folder.iterdir()) == ["step_100", "step_20"]
    assert store.newest().name == "step_100"


def test_folders_of_other_names_are_left_alone(store):
    store.save(1, made(), METADATA)
    (store.folder / "step_1_good").mkdir()
    for step in (2, 3):
        store.save(step, made(), METADATA)
    names = sorted(path.name for path in store.folder.iterdir())
    assert names == ["step_1_good", "step_2", "step_3"]


def test_a_part_of_a_checkpoint_does_not_count(store):
    store.save(1, made(), METADATA)
    part = store.folder / "step_2.part"
    part.mkdir()
    (part / "state.pt").write_bytes(b"half")
    assert store.newest().name == "step_1"
    store.save(2, made(), METADATA)  # the next attempt replaces it
    assert store.newest().name == "step_2"


def test_what_a_kill_left_of_an_old_one_is_removed_by_a_resume(store):
    for step in (1, 2):
        store.save(step, made(), METADATA)
    (store.folder / "step_0.part").mkdir()
    shutil.copytree(store.folder / "step_1", store.folder / "step_0")
    (store.folder / "step_0/state.pt").unlink()
    assert store.resume(made(), METADATA, say=silent) == 2
    assert sorted(path.name for path in store.folder.iterdir()) == ["step_1", "step_2"]


def test_without_any_the_run_begins(store):
    said = []
    assert store.resume(made(), METADATA, say=said.append) == 0
    assert "starting at step 0" in said[0]


@pytest.mark.parametrize("name", ["state.pt", "generators_0.pt"])
def test_a_changed_file_is_named(store, name):
    path = store.save(3, made(), METADATA) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{name} differs from what was written.*remove"):
        store.resume(made(), METADATA, say=silent)


def test_a_missing_file_is_named(store):
    (store.save(3, made(), METADATA) / "state.pt").unlink()
    with pytest.raises(ValueError, match=r"state\.pt is missing"):
        store.resume(made(), METADATA, say=silent)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other 1", "files": {}}'])
def test_a_foreign_folder_is_refused(store, text):
    place = store.save(3, made(), METADATA)
    (place / "checkpoint.json").write_text(text)
    with pytest.raises(ValueError, match=r"checkpoint\.json"):
        store.resume(made(), METADATA, say=silent)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_in_it_is_executed(store, tmp_path):
    place = store.save(3, made(), METADATA)
    path = place / "state.pt"
    path.write_bytes(pickle.dumps(Malicious(tmp_path / "proof")))
    about = json.loads((place / "checkpoint.json").read_text())
    about["files"]["state.pt"] = digest(path)
    write_metadata(place, {key: value for key, value in about.items() if key != "digest"})
    with pytest.raises(ValueError, match=r"state\.pt cannot be read as a checkpoint"):
        store.resume(made(), METADATA, say=silent)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.1", None, [0.1]])
def test_a_rate_that_is_no_number_is_refused(store, value):
    parts = made()
    parts["optimizer"].param_groups[0]["lr"] = value
    place = store.save(3, parts, METADATA)
    with pytest.raises(ValueError, match=r"optimizer.param_groups\[0\].lr must be a finite number"):
        store.resume(made(), METADATA, say=silent)
    assert place.exists()


def test_other_data_are_refused(store):
    store.save(3, made(), METADATA)
    with pytest.raises(ValueError, match="was made with samples 10 and this run has 11"):
        store.resume(made(), {**METADATA, "samples": 11}, say=silent)


def test_another_network_is_refused_in_one_line(store):
    store.save(3, made(), METADATA)
    with pytest.raises(ValueError, match=r"does not fit this model: .*size mismatch") as caught:
        store.resume({**made(), "model": nn.Linear(4, 2)}, METADATA, say=silent)
    assert "\n" not in str(caught.value)


def test_another_number_of_processes_is_said(store, monkeypatch):
    store.save(3, made(), METADATA)
    monkeypatch.setattr("ssl_dml.training.checkpoint.world_size", lambda: 2)
    said = []
    assert store.resume(made(), METADATA, say=said.append) == 3
    assert "made by 1 processes, with 2" in said[0]
    assert "not bit for bit" in said[0]


def test_weights_that_are_not_finite_are_not_written(store):
    store.save(3, made(), METADATA)
    parts = made()
    with torch.no_grad():
        parts["model"].weight[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="step 4: weight is not finite"):
        store.save(4, parts, METADATA)
    assert store.newest().name == "step_3"


def test_a_full_disk_is_told_and_leaves_the_earlier_one(store, monkeypatch):
    store.save(3, made(), METADATA)

    def full(_state, _file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="earlier ones are whole"):
        store.save(4, made(), METADATA)
    assert read_metadata(store.newest())["step"] == 3


def folders_raise(monkeypatch, code):
    """From here on, a folder is synchronized as by a file system that answers with this."""
    whole, asked = os.fsync, []

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            asked.append(descriptor)
            raise OSError(code, os.strerror(code))
        whole(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return asked


REFUSALS = [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM]


@pytest.mark.parametrize("code", REFUSALS)
def test_a_file_system_that_synchronizes_no_folders_keeps_checkpoints(store, monkeypatch, code):
    asked = folders_raise(monkeypatch, code)
    parts, others = made(), made()
    store.save(1, parts, METADATA)
    assert len(asked) == 2
    assert [path.name for path in store.folder.iterdir()] == ["step_1"]
    assert store.resume(others, METADATA, say=silent) == 1  # compares every digest
    assert torch.equal(parts["model"].weight, others["model"].weight)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_is_no_refusal(store, monkeypatch, code):
    folders_raise(monkeypatch, code)
    with pytest.raises(OSError, match=os.strerror(code)):
        store.save(1, made(), METADATA)
    assert store.newest() is None
