import json

from benchmarks import measure_table


def test_time_and_memory_are_measured(tmp_path, capsys):
    path = tmp_path / "measures.json"
    measure_table(rows=400, queries=50, dim=8, k=20, pairs=5000, repeats=1, output=path)
    found, said = json.loads(path.read_text()), capsys.readouterr().out
    assert found["ratio"] == found["retrieval_s"] / found["faiss_s"]
    assert found["measures"]["recall_at_20"] > found["measures"]["recall_at_1"] > 0.1
    assert found["verification"]["genuine"] + found["verification"]["impostors"] == 5050
    assert "50 queries among 400 rows of 8, k = 20" in said
    assert "5,050 pairs: " in said
