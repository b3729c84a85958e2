import pytest
import torch
from torch.testing import assert_close

from ssl_dml.heads import DenseTriplet, LogRatio, ProxyNCA, WeightedSum
from ssl_dml.losses import dense_triplet, log_ratio


def given():
    return torch.randn(8, 4, requires_grad=True), torch.randn(8, 2)


def test_are_the_losses_of_their_names():
    rows, targets = given()
    for head, expected in (
        (LogRatio(4, 2), log_ratio(rows, targets)),
        (
            LogRatio(4, 2, anchors=1),
            log_ratio(rows, targets, anchors=1),
        ),
        (DenseTriplet(4, 2, margin=0.5), dense_triplet(rows, targets, margin=0.5)),
        (DenseTriplet(4, 2, anchors=2), dense_triplet(rows, targets, anchors=2)),
    ):
        assert head.continuous
        assert_close(head(rows, targets).loss, expected)
        assert expected > 0


@pytest.mark.parametrize("build", [LogRatio, DenseTriplet])
def test_labels_that_are_all_the_same_teach_nothing_and_are_counted(build):
    rows, _ = given()
    head = build(4, 2)
    made = [head(rows, torch.ones(8, 1)) for _ in range(3)][-1]
    made.loss.backward()
    assert made.loss == 0
    assert not rows.grad.any()
    assert made.logs["batches_without_pairs"] == 3
    head.eval()
    assert head(rows, torch.ones(8, 1)).logs["batches_without_pairs"] == 3


def test_a_sum_is_of_heads_of_one_kind():
    both = WeightedSum(4, 2, heads={"ratio": LogRatio, "triplet": DenseTriplet})
    assert both.continuous
    rows, targets = given()
    expected = log_ratio(rows, targets) + dense_triplet(rows, targets)
    assert_close(both(rows, targets).loss, expected)
    with pytest.raises(
        ValueError,
        match="heads of a sum must take the same labels; only ratio takes continuous ones",
    ):
        WeightedSum(4, 2, heads={"ratio": LogRatio, "proxies": ProxyNCA})


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: LogRatio(4, 2, anchors=0), "anchors must be at least 1, got 0"),
        (lambda: DenseTriplet(4, 2, margin=-0.1), r"margin must be at least 0, got -0\.1"),
    ],
)
def test_errors(build, words):
    with pytest.raises(ValueError, match=words):
        build()
