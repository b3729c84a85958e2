import re

import pytest
import yaml
from benchmarks.methods import _of_clothes, interval, method_table, run_once


def test_interval_of_three_seeds():
    """Mean 0.82, standard deviation 0.02; 4.303 * 0.02 / sqrt(3) = 0.0497."""
    assert interval([0.80, 0.82, 0.84]) == "82.00 ± 4.97"


def test_every_method_of_images_has_a_recipe_in_the_table():
    named = {yaml.safe_load(p.read_text())["method"]["class_path"] for p in _of_clothes()}
    names = "SimCLR DCL HCL SupCon NNCLR MoCo MoCoV3 NPID PIRL CPCImages"
    assert named == {f"ssl_dml.methods.{name}" for name in names.split()}


def test_one_seed_has_no_interval():
    with pytest.raises(ValueError, match="seeds must be from 2 to 10 for an interval, got 1"):
        method_table(seeds=1)


@pytest.mark.slow
def test_a_run_that_fails_says_which_and_why(tmp_path):
    config = yaml.safe_load(_of_clothes()[0].read_text())
    config["data"]["source"] = str(tmp_path / "nowhere")
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(OSError, match=r"pretrain\.py .*nowhere.*no such file or folder"):
        run_once(path, tmp_path / "run", views=100, seed=0)


@pytest.mark.slow
def test_the_table_of_real_runs(tmp_path, capsys):
    (config,) = [path for path in _of_clothes() if path.stem == "default"]
    for _ in range(2):  # the second reads what the first has made
        method_table(configs=[config], views=1024, seeds=2, folder=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if "`default`" in line)
    interval = r"[\d.]+ ± [\d.]+"
    assert re.match(rf"\| `default` \| {interval} \| {interval} \| [\d,]+ \| [\d,]+ MB \|", row)
    assert "raw pixels | | 81.25" in lines[-1]
    assert (tmp_path / "table.md").read_text().splitlines() == lines[-len(lines) // 2 :]
