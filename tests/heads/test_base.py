import pytest
import torch

from ssl_dml.heads import CenterLoss, DenseTriplet, Head, MarginSoftmax, PairHead, ProxyNCA
from ssl_dml.heads.base import check_labels
from ssl_dml.losses import Triplet
from ssl_dml.margins import CosFace


@pytest.mark.parametrize(
    "head",
    [
        CenterLoss(5, 3),
        DenseTriplet(5, 3),
        MarginSoftmax(5, 3, margin=CosFace()),
        PairHead(5, 3, loss=Triplet()),
        ProxyNCA(5, 3),
    ],
    ids=lambda head: type(head).__name__,
)
def test_a_head_says_what_it_was_built_for(head):
    assert isinstance(head, Head)
    assert (head.embedding_dim, head.num_classes) == (5, 3)
    assert head.continuous == isinstance(head, DenseTriplet)


@pytest.mark.parametrize(("labels", "classes"), [([], 3), ([0, 2], 3), ([0, 99], None)])
def test_labels_in_range_pass(labels, classes):
    check_labels(torch.tensor(labels, dtype=torch.long), classes)


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        ([0, -1], 3, "^labels must be from 0 to 2, got -1: leave out samples without a label$"),
        ([0, -1], None, "^labels must be at least 0, got -1: leave out samples without a label$"),
        ([3, 0], 3, "^labels must be from 0 to 2, got 3: the head has 3 classes$"),
    ],
)
def test_a_label_out_of_range_is_named(labels, classes, words):
    with pytest.raises(ValueError, match=words):
        check_labels(torch.tensor(labels), classes)


def test_a_head_without_a_forward_cannot_be_built():
    class Unfinished(Head):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Unfinished(4, 2)
