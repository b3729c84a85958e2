"""Distances beside NumPy and SciPy, and their axioms."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import batch, small
from safetensors.torch import save_file
from scipy.spatial.distance import cdist
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis
from sklearn.covariance import ledoit_wolf
from torch.testing import assert_close

from ssl_dml.config import parse
from ssl_dml.distances import Mahalanobis, distances, shrunk_precision
from ssl_dml.heads import Head, PairHead
from ssl_dml.losses import Contrastive, Triplet
from ssl_dml.types import ConfigError, LabeledEmbeddings

KINDS = {"euclidean": "euclidean", "squared": "sqeuclidean", "cosine": "cosine"}
numbers = st.floats(-100, 100, allow_subnormal=False)
tables = st.integers(1, 5).flatmap(
    lambda dim: st.lists(st.lists(numbers, min_size=dim, max_size=dim), min_size=3, max_size=6)
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_matches_scipy(kind, shift):
    rows, others = torch.randn(5, 3).double() + shift, torch.randn(7, 3).double() + shift
    expected = torch.from_numpy(cdist(rows, others, KINDS[kind]))
    assert_close(distances(rows, others, kind=kind), expected, rtol=1e-9, atol=1e-10)


def test_dot_is_turned():
    rows, others = torch.randn(5, 3), torch.randn(7, 3)
    assert_close(distances(rows, others, kind="dot"), -(rows @ others.T))


@pytest.mark.parametrize("kind", KINDS)
def test_gradient(kind):
    rows = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    others = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *x: distances(*x, kind=kind), (rows, others))
    assert torch.autograd.gradcheck(lambda rows: distances(rows, kind=kind), rows)


@pytest.mark.parametrize("kind", ["euclidean", "squared"])
def test_gradient_of_the_gradient(kind):
    rows = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    others = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda *x: distances(*x, kind=kind), (rows, others))
    assert torch.autograd.gradgradcheck(lambda rows: distances(rows, kind=kind), rows)


def mahalanobis(rows, others, matrix):
    return distances(rows, others, kind=Mahalanobis(kind="given", matrix=matrix))


@settings(deadline=None, max_examples=60)
@given(tables)
def test_euclidean_is_a_metric(values):
    found = distances(torch.tensor(values, dtype=torch.float64)).numpy()
    slack = 1e-5 * (1 + found.max())  # the root of what cancellation leaves
    assert (found >= 0).all()
    assert (found.diagonal() == 0).all()
    assert np.allclose(found, found.T, atol=slack)
    assert (found[:, None, :] <= found[:, :, None] + found[None] + slack).all()


@settings(deadline=None, max_examples=60)
@given(tables, st.integers(0, 2**31))
def test_mahalanobis_is_a_metric(values, seed):
    rows = torch.tensor(values, dtype=torch.float64)
    dim = rows.shape[1]
    root = torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed)).double()
    matrix = root.T @ root + 0.1 * torch.eye(dim).double()
    found = mahalanobis(rows, rows, matrix).numpy()
    slack = 1e-4 * (1 + found.max())
    assert (found >= 0).all()
    assert (found.diagonal() <= slack).all()
    assert np.allclose(found, found.T, atol=slack)
    assert (found[:, None, :] <= found[:, :, None] + found[None] + slack).all()


@pytest.mark.parametrize("count", [20, 40])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_duplicates_are_near_and_their_gradient_is_finite(count, dtype):
    """Where torch.cdist is up to 8e-4 off for unit rows in float32."""
    rows = torch.nn.functional.normalize(torch.randn(count, 64), dim=1).to(dtype)
    rows = torch.cat([rows, rows]).requires_grad_()
    found = distances(rows)
    found.sum().backward()
    assert found.dtype == torch.float32
    assert (found.diagonal() == 0).all()
    assert found.diagonal(count).max() < 1e-3
    assert rows.grad.isfinite().all()


def test_all_rows_equal_have_no_gradient():
    rows = torch.ones(4, 3, requires_grad=True)
    distances(rows).sum().backward()
    assert (rows.grad == 0).all()


def test_mahalanobis_is_that_of_scipy():
    rows, others = torch.randn(5, 3).double(), torch.randn(7, 3).double()
    root = torch.randn(3, 3).double()
    matrix = root.T @ root
    expected = cdist(rows.numpy(), others.numpy(), "mahalanobis", VI=matrix.numpy())
    assert_close(mahalanobis(rows, others, matrix), torch.from_numpy(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_mahalanobis_of_a_row_from_itself_is_zero(dtype):
    rows, root = 5 + torch.randn(64, 32), torch.randn(32, 32)
    rows = rows.to(dtype)
    found = mahalanobis(rows, rows, root @ root.T + torch.eye(32))
    assert (found.diagonal() == 0).all()
    assert (distances(rows, rows).diagonal() == 0).all()


def test_values_computed_elsewhere():
    rows, _ = small()
    linear = torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, -1.0]]).double()
    matrix = linear.T @ linear + 1e-12 * torch.eye(3).double()
    assert_close(
        mahalanobis(rows[:1], rows[2:3], matrix).item(), math.sqrt(1.49), rtol=1e-6, atol=0
    )
    inverse = torch.from_numpy(np.linalg.inv(np.cov(rows.numpy(), rowvar=False)))
    assert_close(mahalanobis(rows[:1], rows[2:3], inverse).item(), 2.259799250461822)
    assert_close(distances(rows)[0, 3].item(), 1.174734012447073)


@pytest.mark.parametrize("count", [4, 30, 300])
def test_shrinkage_is_that_of_scikit_learn(count):
    rows = torch.randn(count, 6).double() @ torch.randn(6, 6).double()
    expected, _ = ledoit_wolf(rows.numpy())
    assert_close(shrunk_precision(rows), torch.from_numpy(np.linalg.inv(expected)))


def test_without_shrinkage_it_is_the_inverse_covariance():
    rows = torch.randn(30, 4).double()
    expected = np.linalg.inv(np.cov(rows.numpy(), rowvar=False, bias=True))
    assert_close(shrunk_precision(rows, shrinkage=0.0), torch.from_numpy(expected))


def spread():
    """A matrix M of three dimensions."""
    root = torch.randn(3, 3).double()
    return root @ root.T + 0.1 * torch.eye(3).double()


@pytest.mark.parametrize("form", ["tensor", "lists", "file"])
def test_a_given_matrix_is_that_of_scipy(form, tmp_path):
    rows, others, matrix = torch.randn(4, 3).double(), torch.randn(5, 3).double(), spread()
    path = tmp_path / "matrix.npy"
    np.save(path, matrix.numpy())
    given = {"tensor": matrix, "lists": matrix.tolist(), "file": path}[form]
    found = Mahalanobis(kind="given", matrix=given)(rows, others)
    expected = [[scipy_mahalanobis(a, b, matrix) for b in others.numpy()] for a in rows.numpy()]
    assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_a_learned_matrix_is_read_from_a_checkpoint(tmp_path):
    root, path = torch.eye(3) + 0.2 * torch.rand(3, 3), tmp_path / "model.safetensors"
    save_file({"head.loss.distance.root": root, "embedder.weight": torch.ones(2)}, path)
    rows = torch.randn(4, 3)
    found = Mahalanobis(kind="given", matrix=path)(rows)
    assert_close(found, distances(rows @ root), rtol=1e-4, atol=1e-4)
    save_file({"embedder.weight": torch.ones(2)}, path)
    with pytest.raises(ConfigError, match="safetensors' has 0 learned distances, and one is"):
        Mahalanobis(kind="given", matrix=path)


def test_the_covariance_is_that_of_the_references_without_gradient():
    rows, others = torch.randn(4, 3).double(), torch.randn(9, 3).double()
    found = Mahalanobis(kind="covariance")(rows, others.requires_grad_())
    empty = torch.cat([others.detach(), torch.zeros(3, 3).double()])  # of a memory that fills
    assert_close(Mahalanobis(kind="covariance")(rows, empty)[:, :9], found.detach())
    inverse = np.linalg.inv(ledoit_wolf(others.detach().numpy())[0])
    expected = cdist(rows.numpy(), others.detach().numpy(), "mahalanobis", VI=inverse)
    assert_close(found, torch.from_numpy(expected))
    fixed = mahalanobis(rows, others, torch.from_numpy(inverse))
    ours, theirs = (torch.autograd.grad(far.sum(), others)[0] for far in (found, fixed))
    assert_close(ours, theirs)


def test_a_learned_distance_starts_as_euclidean_and_has_a_gradient():
    rows, labels = batch(classes=3, of_each=2, dim=3)
    distance = Mahalanobis(dim=3).double()
    assert_close(distance(rows), distances(rows))
    distance.root.data += 0.3 * torch.randn(3, 3)
    others = torch.randn(4, 3).double()
    expected = cdist(
        rows.detach(), others, "mahalanobis", VI=(distance.root @ distance.root.T).detach()
    )
    assert_close(distance(rows, others).detach(), torch.from_numpy(expected))
    loss = Triplet(margin=1.0, distance=distance)

    def value(rows, root):
        return torch.func.functional_call(loss, {"distance.root": root}, (rows, labels))

    assert torch.autograd.gradcheck(value, (rows, distance.root))


def test_a_learned_distance_drops_a_dimension_that_says_nothing():
    """The class is in the first dimension; the second is noise that Euclidean distances follow."""
    labels = torch.arange(2).repeat(16)
    rows = torch.stack([labels.double(), 5 * torch.randn(32).double()], dim=1)
    distance = Mahalanobis(dim=2).double()
    head = PairHead(2, 2, loss=Contrastive(margin=1.0, distance=distance), normalize=False)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.05)
    losses = []
    for _ in range(100):
        loss = head(rows, labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    matrix = distance.root @ distance.root.T
    assert matrix[1, 1] < 0.1 * matrix[0, 0]


@pytest.mark.parametrize("kind", ["covariance", "given", "learned"])
def test_a_loss_with_a_memory_measures_as_on_mapped_rows(kind):
    rows, labels = batch(classes=3, dim=3)
    memory = LabeledEmbeddings(torch.randn(5, 3).double(), torch.tensor([0, 1, 2, 3, 3]))
    distance = Mahalanobis(kind=kind, dim=3, matrix=spread())
    together = torch.cat([rows.detach(), memory.embeddings])
    root = (
        torch.linalg.cholesky(shrunk_precision(together))
        if kind == "covariance"
        else distance.root.double()
    )
    mapped = LabeledEmbeddings(memory.embeddings @ root, memory.labels)
    for loss in (Triplet, Contrastive):
        assert_close(
            loss(distance=distance)(rows, labels, memory), loss()(rows @ root, labels, mapped)
        )


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "learned", "dim": 4},
        {"kind": "given", "matrix": [[2.0, 0.0], [0.0, 3.0]]},
        {"kind": "covariance", "shrinkage": 0.3},
    ],
    ids=lambda options: options["kind"],
)
@pytest.mark.parametrize("loss", ["Triplet", "Contrastive"])
def test_a_configuration_names_a_distance(tmp_path, loss, options):
    @dataclass(frozen=True, kw_only=True)
    class OneHead:
        """One component."""

        head: Callable[[int, int], Head]

    distance = {"class_path": "ssl_dml.distances.Mahalanobis", "init_args": options}
    part = {"class_path": f"ssl_dml.losses.{loss}", "init_args": {"distance": distance}}
    head = {"class_path": "ssl_dml.heads.PairHead", "init_args": {"loss": part}}
    path = tmp_path / "head.yaml"
    path.write_text(yaml.safe_dump({"head": head}))
    config, text = parse(OneHead, [], default=path)
    dim = 2 if "matrix" in options else 4
    made = config.head(dim, 3)
    assert made.loss.distance.kind == options["kind"]
    assert len(list(made.parameters())) == (options["kind"] == "learned")
    rows, labels = batch(dim=dim, dtype=torch.float32)
    assert made(rows, labels).loss > 0
    again = parse(OneHead, [], default=path)[1]
    assert again == text


def test_errors():
    rows = torch.randn(3, 5)
    with pytest.raises(ValueError, match="covariance of 3 rows of 5 dimensions has no inverse"):
        shrunk_precision(torch.zeros(3, 5), shrinkage=0.0)
    with pytest.raises(ValueError, match=r"shrinkage must be from 0 to 1, got 2\.0"):
        shrunk_precision(rows, shrinkage=2.0)
    with pytest.raises(ValueError, match="matrix must be positive definite"):
        mahalanobis(rows, rows, -torch.eye(5))
    with pytest.raises(ValueError, match="matrix must be symmetric"):
        mahalanobis(rows, rows, torch.eye(5).roll(1, 0))
    with pytest.raises(ValueError, match="dim must be set for kind learned, got None"):
        Mahalanobis()
    with pytest.raises(ValueError, match="matrix must be set for kind given, got None"):
        Mahalanobis(kind="given", dim=3)
    with pytest.raises(ValueError, match="the distance is of 4 dimensions, rows of 5"):
        PairHead(5, 2, loss=Triplet(distance=Mahalanobis(dim=4)))
