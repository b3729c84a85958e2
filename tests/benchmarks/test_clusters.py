import json

from benchmarks import cluster_table


def test_both_ways_are_timed_and_find_the_classes(tmp_path, capsys):
    path = tmp_path / "clusters.json"
    found = cluster_table(rows=600, classes=6, dim=16, output=path)
    assert found == json.loads(path.read_text())
    assert found["kmeans_clusters"] == 6
    assert found["density_ami"] > 0.95
    assert found["kmeans_ami"] > 0.7  # one start may take two classes for one
    assert "density: 600 rows of 16 in 6 classes" in capsys.readouterr().out
