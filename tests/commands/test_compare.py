"""Two models on one test set, from run folders and from tables."""

import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from ssl_dml.backbones import TimmBackbone, save
from ssl_dml.commands.compare import main
from ssl_dml.evaluation import retrieval
from ssl_dml.tables import EmbeddingTable, TableBatch, TableInfo, write_table
from ssl_dml.types import ConfigError, ImageSpec

NETWORK = "ssl_dml.backbones.TimmBackbone"
RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


def table(folder, *, noise, seed=0, classes=8, each=10, names="abcdefgh", start=0, camera=True):
    """A table of classes around points of their own."""
    rng = np.random.default_rng(seed)
    labels = torch.arange(classes).repeat_interleave(each)
    rows = torch.eye(classes)[labels] + noise * torch.from_numpy(
        rng.normal(size=(len(labels), classes))
    )
    samples = [f"{i + start}.png" for i in range(len(labels))]
    columns = {"camera": [f"c{i % 20}" for i in range(len(labels))]} if camera else {}
    batch = TableBatch(names=samples, labels=labels, embeddings=rows.float(), columns=columns)
    write_table(folder, TableInfo(rows=0, dim=classes, class_names=list(names)), [batch])
    return str(folder)


def test_tables_are_compared(tmp_path, capsys):
    before, after = table(tmp_path / "a", noise=0.6), table(tmp_path / "b", noise=0.3)
    output = tmp_path / "found.json"
    main([before, after, "--evaluator", "retrieval", "--output", str(output), "--draws", "400"])
    found = json.loads(output.read_text())
    for name in ("recall_at_1", "map_at_r"):
        values = [retrieval(EmbeddingTable.open(folder))[name] for folder in (before, after)]
        assert [found[f"{name}_before"], found[f"{name}_after"]] == pytest.approx(values)
        assert found[f"{name}_gain"] == pytest.approx(values[1] - values[0])
        assert found[f"{name}_gain_low"] < found[f"{name}_gain"] < found[f"{name}_gain_high"]
        assert found[f"{name}_p_value"] < 0.05  # of 8 classes: 2 / 256 or more
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "80 test samples, drawn by class"
    assert lines[1].split() == ["measure", "before", "after", "gain", "95%", "interval", "p-value"]
    assert len(lines) == 2 + 3 + 1


def test_a_model_is_as_good_as_itself(tmp_path, capsys):
    same = table(tmp_path / "a", noise=0.6)
    main([same, same, "--evaluator", "retrieval", "--draws", "50"])
    out = capsys.readouterr().out
    assert "+0.00% to +0.00%" in out
    assert "100% of the 10 nearest neighbors of a sample are the same" in out


def test_what_is_drawn_at_once_may_be_a_column(tmp_path, capsys):
    before, after = table(tmp_path / "a", noise=0.6), table(tmp_path / "b", noise=0.5)
    main([before, after, "--evaluator", "retrieval", "--by", "camera", "--draws", "50"])
    assert "drawn by camera" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--by must be one of sample, class, camera, got 'id'"):
        main([before, after, "--evaluator", "retrieval", "--by", "id"])


def test_verification_leaves_out_what_has_too_few_impostors(tmp_path, capsys):
    before, after = table(tmp_path / "a", noise=0.6), table(tmp_path / "b", noise=0.3)
    fars = ["--verification.fars", "[0.1, 0.001]"]
    main([before, after, "--evaluator", "verification", "--draws", "50", *fars])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tar_at_far_0.001 is left out: no test sample has enough others for it"
    assert [line.split()[0] for line in lines[3:5]] == ["auc", "tar_at_far_0.1"]
    assert len(lines) == 6


def test_several_runs_of_each(tmp_path, capsys):
    before, after = (
        ",".join(table(tmp_path / f"{noise}_{seed}", noise=noise, seed=seed) for seed in (1, 2, 3))
        for noise in (0.7, 0.3)
    )
    main([before, after, "--evaluator", "retrieval"])
    out = capsys.readouterr().out
    assert "; 3 runs before and 3 after" in out
    gain = float(out.splitlines()[2].split()[3].rstrip("%"))
    assert gain > 5
    with pytest.raises(ConfigError, match="two or more runs of each; got 3 before and 1 after"):
        main([before, after.split(",")[0], "--evaluator", "retrieval"])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"each": 9}, "80 and 72 rows"),
        ({"start": 1}, "row 0 is '0.png' of class 'a', and '1.png' of class 'a'"),
        ({"names": "abcdefgx"}, "row 70 is '70.png' of class 'h', and '70.png' of class 'x'"),
    ],
)
def test_other_test_samples_are_named(tmp_path, other, words):
    before, after = table(tmp_path / "a", noise=0.6), table(tmp_path / "b", noise=0.6, **other)
    with pytest.raises(ConfigError, match=f"a and .*b have different test samples: {words}; comp"):
        main([before, after, "--evaluator", "retrieval"])


def test_a_table_has_no_training_samples(tmp_path):
    same = table(tmp_path / "a", noise=0.6)
    with pytest.raises(ConfigError, match="kNN needs the training samples of a run: name runs, or"):
        main([same, same])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--draws", "0"], "draws must be at least 1, got 0"),
        (["--confidence", "1.0"], r"confidence must be above 0 and below 1, got 1\.0"),
        (["--output", "none/found.json"], "there is no folder none"),
    ],
)
def test_wrong_values_are_named(args, words):
    with pytest.raises(ConfigError, match=words):
        main(["a", "b", *args])


def run(tmp_path, seed):
    """A run folder whose backbone was never trained."""
    torch.manual_seed(seed)
    inputs = ImageSpec(channels=1, size=8, mean=(0.5,), std=(0.25,))
    folder = tmp_path / f"run{seed}"
    save(TimmBackbone(inputs, **RESNET), folder / "backbone", NETWORK, RESNET, trained={})
    config = {"data": {"source": str(tmp_path / "images")}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return str(folder)


def test_runs_are_compared(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for label in range(3):
        (tmp_path / f"images/{label}").mkdir(parents=True)
        for i in range(20):
            array = rng.integers(label * 40, label * 40 + 120, (8, 8)).astype(np.uint8)
            Image.fromarray(array).save(tmp_path / f"images/{label}/{i}.png")
    main([run(tmp_path, 0), run(tmp_path, 1), "--draws", "100", "--knn.ks", "[1, 5]"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "6 test samples, drawn by sample"
    assert [line.split()[0] for line in lines[2:4]] == ["knn_top1_k1_t0.07", "knn_top1_k5_t0.07"]
    with pytest.raises(ConfigError, match="is no run folder: it has no config"):
        main([run(tmp_path, 0), str(tmp_path / "none")])
