"""Measures of a representation: kNN, linear probe, retrieval, and health without labels."""

from ssl_dml.evaluation.agreement import agreement
from ssl_dml.evaluation.bank_probe import bank_probe, probe_method
from ssl_dml.evaluation.bootstrap import Gain, gain_of, paired_gain
from ssl_dml.evaluation.classifier import classifier
from ssl_dml.evaluation.clustering import clustering
from ssl_dml.evaluation.density import density_clusters
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
from ssl_dml.evaluation.few_shot import few_shot
from ssl_dml.evaluation.health import alignment, alpha_req, health, intrinsic_dimension, lidar
from ssl_dml.evaluation.knn import knn
from ssl_dml.evaluation.layers import layers
from ssl_dml.evaluation.linear_probe import linear_probe
from ssl_dml.evaluation.logistic import few_labels, logistic
from ssl_dml.evaluation.neighbor_list import neighbors, write_neighbors
from ssl_dml.evaluation.open_set import open_set
from ssl_dml.evaluation.paired import Difference, over_runs, paired
from ssl_dml.evaluation.probe import ProbeConfig, baseline, open_probe, probe
from ssl_dml.evaluation.rerank import Rerank
from ssl_dml.evaluation.retrieval import label_distances, retrieval
from ssl_dml.evaluation.validate import validate
from ssl_dml.evaluation.verification import templates, verification

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
