import pytest
from benchmarks import toolkit_table
from benchmarks.toolkits import BATCH, KINDS, SIDE, Colored, Network, measure


def test_all_have_the_same_network_and_images():
    images = Colored(lambda image: image)
    assert len(images) == 10_000
    assert images[0][0].mode == "RGB"
    assert images[0][0].size == (SIDE, SIDE)
    assert sum(p.numel() for p in Network().backbone.parameters()) == 700_176


def test_errors(monkeypatch):
    monkeypatch.setitem(KINDS, "lightly", "no_such_package")
    with pytest.raises(ValueError, match="no_such_package is not installed"):
        toolkit_table(["lightly"])


@pytest.mark.slow
def test_the_rate_of_a_real_run():
    assert measure("ssl_dml", 1) * 600 > BATCH
