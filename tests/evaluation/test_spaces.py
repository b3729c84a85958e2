import pytest
import torch

from ssl_dml.distances import Mahalanobis, distances
from ssl_dml.evaluation.spaces import Space


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean", "squared", "covariance"])
def test_euclidean_order_is_that_of_the_metric(metric):
    gallery, query = 2 + torch.randn(50, 4), torch.randn(9, 4)
    given = Mahalanobis(kind="covariance") if metric == "covariance" else metric
    space = Space(gallery, given)
    found = torch.cdist(space.query(query), space.gallery(gallery))
    expected = distances(query, gallery, kind=given)
    assert torch.equal(found.argsort(dim=1), expected.argsort(dim=1))
    shortest, longest = space.squared_lengths(gallery, query)
    assert found.max() <= 2 * longest**0.5
    lengths = [length.item() for of, rows in
               ((space.gallery, gallery), (space.query, query))
               for length in of(rows).square().sum(1)]  # fmt: skip
    assert (shortest, longest) == pytest.approx((min(lengths), max(lengths)))
