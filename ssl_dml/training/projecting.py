"""The embeddings of a trained network in TensorBoard's projector."""

from accelerate import Accelerator

from ssl_dml.backbones import Backbone
from ssl_dml.data import SampleSet
from ssl_dml.evaluation import embed, encoder
from ssl_dml.evaluation.embed import evaluating
from ssl_dml.reporting import projector_rows, show_embeddings


def project(accelerator: Accelerator, network: Backbone, samples: SampleSet, *, step: int) -> None:
    """Embed up to 1,000 samples and show them, if TensorBoard is among the trackers.

    Args:
        accelerator: The processes of the run; all of them embed.
        network: What the last probe was of.
        samples: The data of the run.
        step: Its last step.
    """
    rows, device = projector_rows(samples), accelerator.device
    with evaluating(network):
        features = embed(encoder(network, device), samples, rows, device=device)
    show_embeddings(accelerator, features, samples, rows, step=step)
