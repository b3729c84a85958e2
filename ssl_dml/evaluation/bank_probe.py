"""The memory bank itself as the gallery of a kNN probe."""

import torch

from ssl_dml.distributed import rank
from ssl_dml.evaluation.embed import ProbeSplit, embed, encoder
from ssl_dml.evaluation.knn import knn
from ssl_dml.evaluation.probe import ProbeConfig
from ssl_dml.methods import BankMethod, Method
from ssl_dml.types import EmbeddingTable


def bank_probe(
    method: Method, split: ProbeSplit | None, *, config: ProbeConfig, device: torch.device
) -> dict[str, float]:
    """Weighted kNN of embedded queries among rows of the bank; on the first process.

    It is empty for a method without a bank and for images without labels. Gallery images are
    not encoded, so this costs the queries alone.

    References:
        Wu et al., 2018, arXiv:1805.01978, sec. 3.4.
    """
    if split is None or not isinstance(method, BankMethod):
        return {}
    training = method.training
    method.eval()
    encode = encoder(method.backbone, device)
    asked = embed(
        lambda pixels: method.project(encode(pixels)), split.query, split.query_rows, device=device
    )
    with torch.no_grad():
        rows = method.bank.rows(split.gallery_rows.to(device)).float().cpu()
    method.train(training)
    if rank() != 0:
        return {}
    searched, wanted = split.gallery.labels, split.query.labels
    assert searched is not None and wanted is not None
    found = knn(
        EmbeddingTable(embeddings=rows, labels=searched[split.gallery_rows]),
        EmbeddingTable(embeddings=asked, labels=wanted[split.query_rows]),
        ks=(config.k,),
        temperatures=(config.temperature,),
    )
    return {"bank_knn_top1": found["knn_top1"]}
