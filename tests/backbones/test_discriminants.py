import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.backbones import Embedder
from ssl_dml.backbones.discriminants import discriminants, turned
from ssl_dml.backbones.norms import SyncBatchNorm
from ssl_dml.types import ImageSpec

SMALL = {"class_path": "ssl_dml.backbones.TimmBackbone",
         "init_args": {"name": "resnet18", "width": 0.125}}  # fmt: skip


def drawn(classes=30, each=8, dim=12, told=3, seed=0):
    """Rows whose classes differ in a few directions, along none of the axes, and vary in others."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.double)).Q
    labels = torch.arange(classes).repeat_interleave(each)
    means = torch.zeros(classes, dim, dtype=torch.double)
    means[:, :told] = torch.randn(classes, told, generator=generator, dtype=torch.double)
    spread = torch.linspace(0.2, 1.5, dim, dtype=torch.double)
    noise = spread * torch.randn(len(labels), dim, generator=generator, dtype=torch.double)
    return (means[labels] + noise) @ axes.T, labels, axes[:, :told]


def test_directions_are_orthogonal_and_signed():
    found = discriminants(*drawn()[:2])
    assert_close(found @ found.T, torch.eye(12).double())
    largest = found.gather(1, found.abs().argmax(dim=1, keepdim=True))
    assert (largest > 0).all()


def test_prefixes_span_what_scipy_finds():
    rows, labels, _ = drawn()
    unit = F.normalize(rows, dim=1).numpy()
    means = np.stack([unit[labels == c].mean(axis=0) for c in range(30)])
    within = np.mean([np.cov(unit[labels == c].T, bias=True) for c in range(30)], axis=0)
    shrunk = within + np.diag(np.full(12, np.diag(within).mean()))
    vectors = scipy.linalg.eigh(np.cov(means.T), shrunk)[1][:, ::-1]
    found = discriminants(rows, labels).numpy()
    for count in (1, 2, 5):
        theirs = scipy.linalg.orth(vectors[:, :count])
        assert np.linalg.svd(found[:count] @ theirs)[1].min() > 1 - 1e-9


def test_they_find_what_tells_apart_where_the_largest_variance_does_not():
    rows, labels, told = drawn(classes=200)
    found = discriminants(rows, labels)[:3]
    assert torch.linalg.svdvals(found @ told).min() > 0.9
    centered = rows - rows.mean(dim=0)
    largest = torch.linalg.eigh(centered.T @ centered).eigenvectors[:, -3:]
    assert torch.linalg.svdvals(largest.T @ told).min() < 0.5


def test_classes_of_one_sample_are_ordered_by_their_variance():
    rows = torch.tensor([[1.0, 0.1, 0.0], [-1.0, 0.1, 0.0], [1.0, -0.1, 0.0], [-1.0, -0.1, 0.0]])
    assert_close(discriminants(rows, torch.arange(4)).abs()[:2], torch.eye(3)[:2])


@pytest.mark.parametrize(
    ("rows", "message"), [(torch.ones(4, 3), "the same"), (torch.full((4, 3), torch.nan), "finite")]
)
def test_what_cannot_be_ordered_is_named(rows, message):
    with pytest.raises(ValueError, match=message):
        discriminants(rows, torch.tensor([0, 0, 1, 1]))


@pytest.mark.parametrize("neck", ["linear", "linear_batch_norm", "synchronized"])
def test_a_turned_embedder_has_the_same_products(neck):
    torch.manual_seed(0)
    synchronized, neck = neck == "synchronized", neck.replace("synchronized", "linear_batch_norm")
    embedder = Embedder(ImageSpec.imagenet(32), **SMALL, neck=neck, dim=16)
    images = torch.randn(40, 3, 32, 32)
    embedder(images)  # statistics of batch norm
    if synchronized:  # as on several processes
        embedder.neck[1] = SyncBatchNorm(embedder.neck[1])
    embedder.eval()
    directions = torch.linalg.qr(torch.randn(16, 16)).Q
    copy, about = turned(embedder, directions, {**SMALL, "neck": neck, "dim": 16})
    with torch.no_grad():
        before, after = embedder(images), copy(images)
    assert about == {**SMALL, "neck": "linear", "dim": 16}
    assert_close(after, before @ directions.T, atol=1e-4, rtol=1e-4)
    assert_close(after @ after.T, before @ before.T, atol=1e-3, rtol=1e-4)
    assert not copy.training
