import pytest
import torch
from benchmarks.toolkit_runs import SIDE, Colored, Network, score


def test_all_have_the_same_network_and_images():
    images = Colored(lambda image: image)
    assert len(images) == 10_000
    assert images[0][0].mode == "RGB"
    assert images[0][0].size == (SIDE, SIDE)
    assert sum(p.numel() for p in Network().backbone.parameters()) == 700_176


@pytest.mark.slow
def test_features_are_judged_as_a_probe_judges_them():
    """Weights do not matter to pooled pixels, which are known to reach about 70%."""

    class Pooled(torch.nn.Module):
        def forward(self, images):
            return torch.nn.functional.adaptive_avg_pool2d(images, 7).flatten(1)

    assert 0.6 < score(Pooled(), "fashion_mini") < 0.85
