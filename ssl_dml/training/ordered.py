"""The embedding of a saved run, turned so that its first dimensions suffice."""

from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_dml.backbones import Embedder, load, save
from ssl_dml.backbones.discriminants import discriminants, turned
from ssl_dml.backbones.saved import read_metadata
from ssl_dml.data import SampleSet
from ssl_dml.distributed import broadcast_object, rank
from ssl_dml.evaluation.embed import embed, encoder, evaluating
from ssl_dml.evaluation.health import evenly_spaced

ROWS, EACH = 10_000, 4  # training samples that are looked at, and fewest of a class


def order_run(
    network: Embedder,
    run: Path,
    samples: SampleSet,
    labels: Int[Tensor, " samples"],
    *,
    device: torch.device,
) -> Embedder:
    """Turn the embedding in ``backbone/`` of a run, and the one in ``best/`` if it keeps one.

    Args:
        network: The model that ``backbone/`` holds; the other one is read.
        run: The run folder.
        samples: The data set.
        labels: Class of each sample; -1 of those that are not trained on.
        device: Where the network is.

    Returns:
        What ``backbone/`` holds now, on the device.
    """
    if (run / "best").exists():
        best = load(run / "best").to(device)
        assert isinstance(best, Embedder)
        order_saved(best, run / "best", samples, labels, device=device)
    return order_saved(network, run / "backbone", samples, labels, device=device)


def order_saved(
    network: Embedder,
    folder: Path,
    samples: SampleSet,
    labels: Int[Tensor, " samples"],
    *,
    device: torch.device,
) -> Embedder:
    """Turn a saved embedding by :func:`~ssl_dml.backbones.discriminants.discriminants`.

    Every process embeds its part of up to 10,000 training samples, and the first one writes. A
    model that is turned already stays.

    Args:
        network: The model that ``folder`` holds.
        folder: What :func:`~ssl_dml.backbones.save` wrote.
        samples: The data set.
        labels: Class of each sample; -1 of those that are not trained on.
        device: Where the network is.

    Returns:
        What the folder holds now, on the device.

    Raises:
        ValueError: If embeddings are all the same, or not finite.
    """
    saved = broadcast_object(read_metadata(folder) if rank() == 0 else None)
    if saved["trained"].get("ordered"):
        return network
    rows = some_of_each(labels)
    with evaluating(network):
        embeddings = embed(encoder(network, device), samples, rows, device=device)
    found = discriminants(embeddings, labels[rows]) if rank() == 0 else None
    copy, init_args = turned(network, broadcast_object(found), saved["init_args"])
    if rank() == 0:
        trained = {**saved["trained"], "ordered": True}
        save(copy, folder, saved["class_path"], init_args, trained=trained)
    return copy.to(device)


def some_of_each(labels: Int[Tensor, " samples"]) -> Int[Tensor, " rows"]:
    """Up to 10,000 samples, as many of each class, at least 4; of some classes if there are many.

    >>> some_of_each(torch.tensor([3, -1, 3, 0]))
    tensor([0, 2, 3])
    """
    known = (labels >= 0).nonzero()[:, 0]
    order = known[labels[known].argsort(stable=True)]
    _, counts = labels[order].unique_consecutive(return_counts=True)
    each = max(EACH, ROWS // len(counts))
    chosen = torch.zeros(len(counts), dtype=torch.bool)
    chosen[evenly_spaced(len(counts), ROWS // each)] = True
    first = counts.cumsum(0) - counts
    place = torch.arange(len(order)) - first.repeat_interleave(counts)
    return order[(place < each) & chosen.repeat_interleave(counts)].sort().values
