"""How far an exported network is from the original, on real samples."""

from collections.abc import Iterator
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image

from ssl_dml.augment import unsquash
from ssl_dml.backbones import Backbone
from ssl_dml.data import SampleSet
from ssl_dml.data.decode import ImageDecoder, open_pixels
from ssl_dml.data.decoder import aspects_of
from ssl_dml.evaluation import encoder
from ssl_dml.exporting.graph import Run
from ssl_dml.types import ImageSpec, as_floats

TOLERANCE = 1e-4
CHECKED, RANKED, BATCH = 16, 1000, 64
NEAREST = 10


class Difference(NamedTuple):
    """Largest differences of any value of any embedding of length 1.

    Attributes:
        own: Of samples of the size that the network takes.
        other: Of samples of other sizes, to the network on what Pillow makes of them; None if
            there are none.
    """

    own: float
    other: float | None


@final
class Original:
    """A backbone as the toolkit runs it, with real samples.

    Args:
        backbone: The network.
        samples: Real samples of its kind.
    """

    def __init__(self, backbone: Backbone, samples: SampleSet) -> None:
        self.spec, self.samples = backbone.inputs, samples
        self._encode = encoder(backbone.cpu().eval(), torch.device("cpu"))
        self.rows = torch.linspace(0, len(samples) - 1, min(len(samples), CHECKED)).long()

    @torch.no_grad()
    def difference(self, run: Run) -> Difference:
        """Largest differences of an exported network."""
        stored = self.samples[self.rows][0]
        wanted = F.normalize(self._encode(stored).float(), dim=1).numpy()
        own = float(np.abs(run(self._brought(stored)) - wanted).max())
        parts = [np.abs(run(given) - wanted).max() for given, wanted in self._others()]
        return Difference(own, float(max(parts)) if parts else None)

    def _brought(self, stored: torch.Tensor) -> np.ndarray:
        """Decoded samples in the layout of an exported network."""
        if isinstance(self.spec, ImageSpec):
            return stored.permute(0, 2, 3, 1).contiguous().numpy()
        return as_floats(stored).numpy()

    def _others(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Images of other sizes, each with its embedding by the toolkit."""
        decoder = self.samples.decoder
        if not isinstance(decoder, ImageDecoder):
            return
        for row in self.rows.tolist():
            name = self.samples.names
            pixels = open_pixels(name.source.read(int(name.rows[row])))
            if not isinstance(pixels, Image.Image):
                continue  # of more bits or bands, which are not what is exported takes
            pixels = pixels.convert("L" if decoder.channels == 1 else "RGB")
            if pixels.size[::-1] == self.spec_sides():  # an enlarged one is of another size
                pixels = pixels.resize((2 * pixels.width + 1, pixels.height * 3 // 2 + 3))
            decoded = decoder.decode(pixels)
            stored = torch.from_numpy(decoded.values.copy())[None]
            seen = unsquash(stored, aspects_of([decoded.aspect]), self.spec)
            given = np.array(pixels)
            given = given[None, :, :, None] if given.ndim == 2 else given[None]  # noqa: PLR2004
            yield given, F.normalize(self._encode(seen).float(), dim=1).numpy()

    def spec_sides(self) -> tuple[int, int]:
        """Height and width that the network takes."""
        assert isinstance(self.spec, ImageSpec)
        return self.spec.sides

    def embeddings(self, run: Run) -> Float[np.ndarray, "rows dim"]:
        """Those of at most 1,000 samples by an exported network."""
        rows = torch.linspace(0, len(self.samples) - 1, min(len(self.samples), RANKED)).long()
        parts = [run(self._brought(self.samples[part][0])) for part in rows.split(BATCH)]
        return np.concatenate(parts)


def same_neighbors(
    before: Float[np.ndarray, "rows dim"], after: Float[np.ndarray, "rows dim"]
) -> float:
    """Fraction of the ten nearest rows of each row, before, that are so after too.

    >>> rows = np.eye(12, dtype=np.float32)
    >>> same_neighbors(rows, rows)
    1.0
    """
    near = [_nearest(rows) for rows in (before, after)]
    kept = [len(set(a) & set(b)) for a, b in zip(*near, strict=True)]
    return float(np.mean(kept) / near[0].shape[1])


def _nearest(rows: np.ndarray) -> np.ndarray:
    similar = rows @ rows.T
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1, kind="stable")[:, : min(NEAREST, len(rows) - 1)]
