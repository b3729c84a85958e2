import gc

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from ssl_dml.config import ConfigError
from ssl_dml.data import DataConfig, load_train, make_loader
from ssl_dml.data.decode import ImageDecoder
from ssl_dml.data.folders import FolderSource
from ssl_dml.data.on_demand import OnDemand

FORM = ImageDecoder(channels=1, size=4)


@pytest.fixture
def folder(tmp_path):
    for value in range(7):
        Image.new("L", (4, 4), value).save(tmp_path / f"{value}.png")
    return tmp_path


def test_on_demand_reads_only_what_is_asked(folder):
    source = FolderSource(folder)
    pixels = OnDemand(source, FORM, [0, 2, 4])
    (folder / "2.png").unlink()
    assert pixels[np.array([2, 0])][:, 0, 0, 0].tolist() == [4, 0]
    with pytest.raises(FileNotFoundError):
        pixels[np.array([1])]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_vanishes_during_the_run_is_named(folder, workers):
    samples = OnDemand(FolderSource(folder), FORM, [*range(7)])
    (folder / "3.png").unlink()
    loader = DataLoader(samples, sampler=[np.array([2, 3])], batch_size=None, num_workers=workers)
    with pytest.raises(ConfigError, match=r"^damaged sample .*3.png: No such file or dir.*skip$"):
        next(iter(loader))


def test_the_next_of_its_class_takes_the_place_of_one_that_vanished(tmp_path, capsys):
    for value, name in enumerate(["a/0", "b/1", "a/2", "b/3", "b/4"]):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), value).save(tmp_path / "in" / f"{name}.png")
    source = FolderSource(tmp_path / "in")
    samples = OnDemand(source, FORM, [*range(5)], skip_damaged=True)
    (tmp_path / "in/b/4.png").unlink()
    for _ in range(2):
        rows = samples[np.arange(5)][:, 0, 0, 0]
        assert rows.tolist() == [0, 2, 1, 3, 1]
    said = capsys.readouterr().out
    assert said.count("b/4.png: No such file or directory; ") == 1
    assert said.strip().endswith("b/1.png is taken in its place")
    (tmp_path / "in/a/0.png").unlink()
    (tmp_path / "in/a/2.png").unlink()
    with pytest.raises(ConfigError, match=r"a/0.png: No such file"):
        samples[np.array([0])]


def on_demand(folder, *, workers):
    """200 images that workers decode."""
    rng = np.random.default_rng(0)
    (folder / "in").mkdir()
    for number in range(200):
        values = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / "in" / f"{number}.jpg")
    given = {"memory_fraction": 0.0, "disk_fraction": 0.0, "workers": workers}
    return load_train(DataConfig(source=str(folder / "in"), cache_dir=folder / "cache", **given))


@pytest.mark.slow
def test_ten_epochs_of_workers_leave_no_memory_and_no_descriptors_behind(tmp_path):
    train, own = on_demand(tmp_path, workers=2), psutil.Process()
    memory, descriptors, theirs = [], [], []
    for _ in range(10):
        batches = iter(make_loader(train, torch.randperm(200).split(20)))
        seen = [next(batches)]
        theirs.append(sum(one.memory_info().rss for one in own.children()))
        seen += list(batches)
        assert len(seen) == 10
        del batches, seen
        gc.collect()
        memory.append(own.memory_info().rss)
        descriptors.append(own.num_fds())
    assert max(descriptors[5:]) <= max(descriptors[:5])
    assert max(memory[3:]) - memory[2] < 4e6
    assert max(theirs[3:]) - theirs[2] < 40e6  # of two processes, in the midst of decoding
    assert not own.children()


@pytest.mark.slow
def test_one_worker_that_goes_on_for_ten_epochs_takes_no_more_memory(tmp_path):
    train = on_demand(tmp_path, workers=1)
    order = [rows for _ in range(12) for rows in torch.randperm(200).split(20)]
    sizes, descriptors = [], []
    for number, _ in enumerate(make_loader(train, order)):
        if number % 10 == 0 and number < 110:
            (worker,) = psutil.Process().children()
            sizes.append(worker.memory_info().rss)
            descriptors.append(worker.num_fds())
    assert len(sizes) == 11
    assert max(sizes[3:]) - sizes[2] < 4e6
    assert max(descriptors[3:]) <= descriptors[2] + 2
