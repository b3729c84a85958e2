"""Measures of a representation: kNN, linear probe, retrieval, and health without labels.

Functions over an :class:`~ssl_dml.EmbeddingTable` need neither images nor models. Those that do are
imported when they are first used, so that the others take little time and memory.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ssl_dml.evaluation.agreement import agreement
from ssl_dml.evaluation.bootstrap import Gain, gain_of, paired_gain
from ssl_dml.evaluation.classifier import classifier
from ssl_dml.evaluation.clustering import clustering
from ssl_dml.evaluation.density import density_clusters
from ssl_dml.evaluation.few_shot import few_shot
from ssl_dml.evaluation.health import alignment, alpha_req, health, intrinsic_dimension, lidar
from ssl_dml.evaluation.knn import knn
from ssl_dml.evaluation.layers import layers
from ssl_dml.evaluation.linear_probe import linear_probe
from ssl_dml.evaluation.logistic import few_labels, logistic
from ssl_dml.evaluation.neighbor_list import neighbors, write_neighbors
from ssl_dml.evaluation.open_set import open_set
from ssl_dml.evaluation.paired import Difference, over_runs, paired
from ssl_dml.evaluation.rerank import Rerank
from ssl_dml.evaluation.retrieval import label_distances, retrieval
from ssl_dml.evaluation.verification import templates, verification

if TYPE_CHECKING:
    from ssl_dml.evaluation.bank_probe import bank_probe, probe_method
    from ssl_dml.evaluation.embed import (
        ProbeSplit,
        embed,
        embed_labeled,
        embed_split,
        encoder,
        pixel_features,
        probe_split,
        raw_baseline,
    )
    from ssl_dml.evaluation.probe import ProbeConfig, baseline, open_probe, probe
    from ssl_dml.evaluation.validate import validate

__all__ = [
    "Difference",
    "Gain",
    "ProbeConfig",
    "ProbeSplit",
    "Rerank",
    "agreement",
    "alignment",
    "alpha_req",
    "bank_probe",
    "baseline",
    "classifier",
    "clustering",
    "density_clusters",
    "embed",
    "embed_labeled",
    "embed_split",
    "encoder",
    "few_labels",
    "few_shot",
    "gain_of",
    "health",
    "intrinsic_dimension",
    "knn",
    "label_distances",
    "layers",
    "lidar",
    "linear_probe",
    "logistic",
    "neighbors",
    "open_probe",
    "open_set",
    "over_runs",
    "paired",
    "paired_gain",
    "pixel_features",
    "probe",
    "probe_method",
    "probe_split",
    "raw_baseline",
    "retrieval",
    "templates",
    "validate",
    "verification",
    "write_neighbors",
]

_LATER = {
    "bank_probe": ("bank_probe", "probe_method"),
    "embed": (
        "ProbeSplit", "embed", "embed_labeled", "embed_split", "encoder", "pixel_features",
        "probe_split", "raw_baseline",
    ),
    "probe": ("ProbeConfig", "baseline", "open_probe", "probe"),
    "validate": ("validate",),
}  # fmt: skip
_HOMES = {name: f"{__name__}.{home}" for home, names in _LATER.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Functions(ModuleType):
    """Keeps the name of a function that is called like its module, which importing would take."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and name in _LATER:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Functions
