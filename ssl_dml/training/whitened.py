"""What a run of pretraining probes and saves: the network, or the network with a whitening."""

from typing import Any, NamedTuple, final

import torch

from ssl_dml.augment import Augmentation
from ssl_dml.backbones import Backbone
from ssl_dml.backbones.whitening import whitened, whitening
from ssl_dml.data import SampleSet
from ssl_dml.distributed import broadcast_object, process_group, rank
from ssl_dml.evaluation.compute import Compute
from ssl_dml.evaluation.embed import embed, encoder, evaluating
from ssl_dml.evaluation.health import evenly_spaced
from ssl_dml.evaluation.probe import view_features

ROWS = 10_000  # training samples that the whitening is learned from
PAIRS = 4_096  # of views
EMBEDDER = "ssl_dml.backbones.Embedder"


class Model(NamedTuple):
    """A network and what builds it again.

    Attributes:
        network: The network.
        class_path: Dotted path of its class.
        init_args: Keyword arguments of its constructor.
    """

    network: Backbone
    class_path: str
    init_args: dict[str, Any]


@final
class Whitened:
    """Gives the network of a run as it is probed and saved.

    Args:
        dims: Dimensions of whitened features; None for the network as it is.
        model: The network that is trained, or its average.
        samples: Training samples.
        device: Where the network is.
        views: Makes views, if the whitening is learned from these as well.
    """

    def __init__(
        self,
        dims: int | None,
        model: Model,
        samples: SampleSet,
        device: torch.device,
        *,
        views: Augmentation | None = None,
    ) -> None:
        self.dims, self.model, self.samples, self.device = dims, model, samples, device
        self.views = views

    def __call__(self) -> Model:
        """The network as it is now, with the whitening of up to 10,000 training samples.

        Raises:
            ValueError: If the features cannot be whitened, since they are all the same or not
                finite.
        """
        if self.dims is None:
            return self.model
        network, train, device = self.model.network, self.samples, self.device
        pairs, compute = None, Compute(device=device, group=process_group())
        with evaluating(network):
            rows = evenly_spaced(len(train), ROWS)
            features = embed(encoder(network, device), train, rows, device=device)
            if self.views is not None:  # every process makes the same ones
                pairs = view_features(network, train, self.views, most=PAIRS, compute=compute)
        found = whitening(features, self.dims, pairs) if rank() == 0 else None
        embedder, init_args = whitened(
            network, self.model.class_path, self.model.init_args, *broadcast_object(found)
        )
        return Model(embedder.to(device), EMBEDDER, init_args)
