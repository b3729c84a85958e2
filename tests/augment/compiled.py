"""Worker of test_recipes: each recipe as one graph, against the same without compilation.

Usage: compiled.py BACKEND, one of torch.compile. It is a process of its own as the checks of shapes
that pytest adds to every function cannot be compiled.
"""

import sys

import torch

from ssl_dml.augment import JPEG, Color, Crops, Gray, ImageViews, ManyChannel
from ssl_dml.types import ImageSpec

CROPS = Crops(views=2, local_views=2, degrees=10.0)


def spec(channels):
    return ImageSpec(channels=channels, size=16, mean=(0.5,) * channels, std=(0.2,) * channels)


def main(backend):
    recipes = [
        (Color(spec(3), crops=CROPS, blur=0.5, solarize=0.5), 3),
        (Color(spec(3), exact_hue=True), 3),
        (Gray(spec(1), blur=0.5, erase=0.5), 1),
        (ManyChannel(spec(5), blur=0.5), 5),
        (ImageViews(spec(3), [JPEG()], crops=CROPS), 3),
    ]
    # Compiled code draws as torch does outside it.
    torch._inductor.config.fallback_random = True
    for recipe, channels in recipes:
        batch = (torch.arange(4 * channels * 256) % 251).to(torch.uint8).view(4, channels, 16, 16)
        compiled = torch.compile(recipe, backend=backend, fullgraph=True)
        found = []
        for made in (recipe, compiled):
            torch.manual_seed(0)
            found.append(made(batch))
        torch.testing.assert_close(*found, rtol=0, atol=1e-4)
        print(type(recipe).__name__, flush=True)
    print("done")


if __name__ == "__main__":
    main(sys.argv[1])
