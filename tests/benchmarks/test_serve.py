import json

import pytest
from benchmarks import serve_load


@pytest.mark.slow
def test_every_request_is_answered(tmp_path):
    found = serve_load(clients=4, rounds=1, output=tmp_path / "serve.json")
    assert found == json.loads((tmp_path / "serve.json").read_text())
    assert (found["requests"], found["errors"]) == (4 * 27, 0)
    for kind, count in (("upload", 4), ("search", 8), ("thumbnail", 96)):
        assert found[kind]["n"] == count
        assert 0 < found[kind]["p50_ms"] <= found[kind]["p99_ms"] <= found[kind]["max_ms"]
