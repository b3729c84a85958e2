"""What may be wrong with data: copies, leaks, outliers, labels, classes that look like one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ssl_dml.evaluation.copies import nearest_others
from ssl_dml.evaluation.duplicates import SIDE, near_duplicates
from ssl_dml.evaluation.label_errors import label_errors
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import Images

NEAREST, VOTERS = 10, 20  # neighbors that show outliers and classes, and that judge a label
FAR = 5.0  # deviations, by the quartiles, from which on a sample is far from all others
ONE = 0.75  # of the mixing of two classes drawn from one, from which on they look like one
SURE = 0.999  # probability from which on it is proposed to leave a changed copy out
FEWEST = 4  # labeled samples of a class that is compared


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that may be wrong.

    Args:
        kind: ``duplicate``, ``near_duplicate``, ``outlier``, ``label`` or ``classes``.
        row: The sample; of two copies the one to leave out. The first of its class for classes.
        other: The sample that it is a copy of, or that shows what it looks like; -1 without.
        score: How sure it is, higher for more; comparable within a kind.
        reason: In words.
        leak: Whether one of two copies is trained on and the other tested on.
        drop: Whether it is proposed to leave the sample out.
    """

    kind: str
    row: int
    other: int
    score: float
    reason: str
    leak: bool = False
    drop: bool = False


def duplicate_findings(
    digests: UInt64[np.ndarray, " rows"],
    tested: Bool[Tensor, " rows"],
    labels: Int[Tensor, " rows"],
    thumbnails: Images | None,
    unique: Int[Tensor, " different"],
) -> list[Finding]:
    """Copies, each beside the sample that is kept of its group.

    A test sample is kept before a training sample, so that scores stay comparable.

    Args:
        digests: Equal for equal samples.
        tested: Whether each sample is of the test split.
        labels: Class of each, -1 without.
        thumbnails: Images of the rows ``unique``; None to look for equal samples only.
        unique: One row of each digest, in rising order.
    """
    _, inverse = np.unique(digests, return_inverse=True)
    first = np.full(inverse.max() + 1, -1)
    first[inverse[unique.numpy()]] = unique.numpy()
    same = torch.from_numpy(np.stack([first[inverse], np.arange(len(digests))], axis=1))
    same = same[same[:, 0] != same[:, 1]]
    scores = dict.fromkeys(map(tuple, same.tolist()), 1.0)
    mirrored, exact = set[tuple[int, int]](), set(scores)
    if thumbnails is not None:
        near = near_duplicates(thumbnails)
        for (a, b), score, mirror in zip(
            unique[near.pairs].tolist(), near.scores.tolist(), near.mirrored.tolist(), strict=True
        ):
            scores[a, b] = score
            mirrored |= {(a, b)} if mirror else set()
    return _copies(scores, exact, mirrored, tested, labels)


def _copies(
    scores: dict[tuple[int, int], float],
    exact: set[tuple[int, int]],
    mirrored: set[tuple[int, int]],
    tested: Tensor,
    labels: Tensor,
) -> list[Finding]:
    """Each pair of copies as a finding; of each group one sample is not to be left out."""
    if not scores:
        return []
    pairs = np.array([*scores])
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (len(tested),) * 2)
    group = connected_components(graph, directed=False)[1]
    rows = np.unique(pairs)
    order = rows[np.lexsort((rows, ~tested.numpy()[rows], group[rows]))]
    kept = set(order[np.unique(group[order], return_index=True)[1]].tolist())
    found = list[Finding]()
    for (a, b), score in scores.items():
        leave, stay = (b, a) if a in kept or (b not in kept and a < b) else (a, b)
        if bool(tested[leave]) and not bool(tested[stay]) and stay not in kept:
            leave, stay = stay, leave
        kind = "duplicate" if (a, b) in exact else "near_duplicate"
        reason = "the same, value by value" if kind == "duplicate" else "a changed copy"
        reason = "a mirrored copy" if (a, b) in mirrored else reason
        leak = bool(tested[leave] != tested[stay])
        reason += "; trained on and tested on" if leak else ""
        apart = min(int(labels[a]), int(labels[b])) >= 0 and bool(labels[a] != labels[b])
        reason += "; of different classes" if apart else ""
        found.append(
            Finding(
                kind=kind,
                row=leave,
                other=stay,
                score=score,
                reason=reason,
                leak=leak,
                drop=kind == "duplicate" or (score >= SURE and not apart),
            )
        )
    return sorted(found, key=lambda one: (not one.leak, -one.score, one.row))


def embedding_findings(table: EmbeddingTable, class_names: Sequence[str] = ()) -> list[Finding]:
    """Outliers, doubtful labels, and classes that look like one, by embeddings.

    Args:
        table: Embeddings; a label of -1 is none.
        class_names: Names of the labels.
    """
    centered = table.embeddings.float() - table.embeddings.float().mean(dim=0)
    near, cosines = nearest_others(centered, min(VOTERS, len(centered) - 1))
    found = outliers(near[:, :NEAREST], cosines[:, :NEAREST])
    known = (table.labels >= 0).nonzero()[:, 0]
    if len(known) < 2 * FEWEST or len(table.labels[known].unique()) == 1:
        return found
    named = EmbeddingTable(embeddings=centered[known], labels=table.labels[known])
    judged = label_errors(named, near=(near, cosines) if len(known) == len(near) else None)
    near_known = judged.near[:, :NEAREST]
    for row in judged.denied.nonzero()[:, 0].tolist():
        same = (named.labels[near_known[row]] == judged.better[row]).nonzero()[:, 0]
        other = int(known[near_known[row, int(same[0]) if len(same) else 0]])
        name = _named(int(judged.better[row]), class_names)
        own = _named(int(named.labels[row]), class_names)
        found.append(
            Finding(
                kind="label", row=int(known[row]), other=other,
                score=-float(judged.support[row]), drop=False,
                reason=f"labeled {own}; neighbors and probe say {name}",
            )
        )  # fmt: skip
    found += alike_classes(named.labels, near_known, known, class_names)
    order = {"outlier": 0, "label": 1, "classes": 2}
    return sorted(found, key=lambda one: (order[one.kind], -one.score))


def outliers(near: Int[Tensor, "rows k"], cosines: Float[Tensor, "rows k"]) -> list[Finding]:
    """Samples that are much farther from their nearest others than samples usually are.

    The score is the distance above the third quartile, in quartile ranges of normal deviations.
    """
    far = (1 - cosines.mean(dim=1)).clamp_min(1e-9).log()
    low, middle, high = far.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    scores = (far - middle) / max((high - low) / 1.349, 1e-3)
    return [
        Finding(
            kind="outlier", row=row, other=int(near[row, 0]), score=float(scores[row]),
            reason=f"{scores[row]:.1f} deviations farther from its nearest than is usual",
        )
        for row in (scores > FAR).nonzero()[:, 0].tolist()
    ]  # fmt: skip


def alike_classes(
    labels: Int[Tensor, " rows"],
    near: Int[Tensor, "rows k"],
    rows: Int[Tensor, " rows"],
    class_names: Sequence[str] = (),
) -> list[Finding]:
    """Pairs of classes whose samples are among one another as if they were one class.

    Of a sample's neighbors in both classes, the part that is of the other one is divided by that
    class's part of the samples: 1 for one class that was divided at random, 0 for two apart.
    """
    classes, own = labels.unique(return_inverse=True)
    sizes = own.bincount().double()
    keys = own[:, None] * len(classes) + own[near]
    pairs, counts = keys.flatten().unique(return_counts=True)
    count = dict(zip(pairs.tolist(), counts.tolist(), strict=True))
    total, found = len(classes), list[Finding]()
    for a, b in {tuple(sorted(divmod(key, total))) for key in count}:
        if a == b or min(sizes[a], sizes[b]) < FEWEST:
            continue
        parts = [
            count.get(x * total + y, 0)
            / max(1, count.get(x * total + y, 0) + count.get(x * total + x, 0))
            / float(sizes[y] / (sizes[a] + sizes[b] - 1))
            for x, y in ((a, b), (b, a))
        ]
        if (mixing := sum(parts) / 2) >= ONE and min(parts) > ONE / 2:
            one, two = (_named(int(classes[i]), class_names) for i in (a, b))
            found.append(
                Finding(
                    kind="classes", score=mixing,
                    row=int(rows[int((own == a).nonzero()[0])]),
                    other=int(rows[int((own == b).nonzero()[0])]),
                    reason=f"{one} and {two} are mixed {mixing:.0%} as much as one class would be",
                )
            )  # fmt: skip
    return found


def thumbnails_of(pixels: Images, side: int = SIDE) -> Float[Tensor, "batch channels rows columns"]:
    """Images as thumbnails, of at most ``side`` pixels a side, squashed to a square."""
    return F.adaptive_avg_pool2d(pixels, min(side, max(pixels.shape[2:])))


def _named(label: int, class_names: Sequence[str]) -> str:
    return class_names[label] if label < len(class_names) else str(label)
