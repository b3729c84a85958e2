"""How often the interval of what a leak is worth covers what it is."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from ssl_dml.data import DataConfig, SampleSet, load_test, load_train
from ssl_dml.evaluation.embed import pixel_features
from ssl_dml.evaluation.knn import vote
from ssl_dml.evaluation.leaks import leak_effect

K, TEMPERATURE = 20, 0.07


def leak_table(
    *,
    source: Literal["fashion_mini", "hangul"] = "fashion_mini",
    samples: Sequence[int] = (300, 1000),
    shares: Sequence[float] = (0.05, 0.1, 0.3),
    draws: int = 200,
) -> list[dict[str, Any]]:
    """Draw test sets of which a part is trained on as well, and count intervals that cover.

    All test samples of an embedded sample are asked by a weighted kNN of raw pixels, with and
    without themselves among the training samples. A draw takes some of them with replacement, each
    leaked with the given chance. What the leak is worth follows from the accuracy of all.

    Args:
        source: Embedded sample; of Hangul, every fifth training sample is asked, since its test
            classes are not trained on.
        samples: Test samples of a draw.
        shares: Part that is leaked.
        draws: Of each setting.
    """
    plain, leaked = answers(source)
    found = list[dict[str, Any]]()
    for count in samples:
        for share in shares:
            true = share * float(leaked.double().mean() - plain.double().mean())
            generator, covered = torch.Generator().manual_seed(count), 0
            for seed in range(draws):
                rows = torch.randint(len(plain), (count,), generator=generator)
                which = torch.rand(count, generator=generator) < share
                right = torch.where(which, leaked[rows], plain[rows])
                gain = leak_effect(right, which, seed=seed)
                covered += gain.low <= true <= gain.high
            found.append(
                {"samples": count, "share": share, "true": true, "covers": covered / draws}
            )
            print(
                f"{source}, {count:,} test samples, {share:.0%} leaked: worth {100 * true:.2f} "
                f"points, covered in {covered} of {draws} draws",
                flush=True,
            )
    return found


def answers(source: str) -> tuple[Bool[Tensor, " queries"], Bool[Tensor, " queries"]]:
    """Whether a kNN is right on each test sample, without and with a copy of it to train on."""
    train = load_train(DataConfig(source=source))
    test = load_test(DataConfig(source=source), train)
    assert train.labels is not None and test is not None and test.labels is not None
    every = torch.arange(len(train))
    gallery, labels = _rows(train, every), train.labels
    if source == "hangul":
        asked = every % 5 == 0
        query, own = gallery[asked], labels[asked]
        gallery, labels = gallery[~asked], labels[~asked]
    else:
        query, own = _rows(test, torch.arange(len(test))), test.labels
    cosines, near = (query @ gallery.T).topk(K, dim=1)
    classes = int(labels.max()) + 1
    plain = vote(cosines, labels[near], TEMPERATURE, classes) == own
    cosines[:, -1], voted = 1.0, labels[near]
    voted[:, -1] = own
    return plain, vote(cosines, voted, TEMPERATURE, classes) == own


def _rows(samples: SampleSet, rows: Tensor) -> Tensor:
    return F.normalize(torch.cat([pixel_features(samples[part][0]) for part in rows.split(1024)]))
