"""Worker of test_launches: what a batch of views costs the host and the device, as JSON."""

import json

import pretend
import torch

from ssl_dml.augment import Color, Crops, Gray, ManyChannel
from ssl_dml.types import ImageSpec

BANDS = ImageSpec(channels=5, size=32, mean=(0.5,) * 5, std=(0.2,) * 5)
GRAY = ImageSpec(channels=1, size=32, mean=(0.5,), std=(0.2,))
MULTI_CROP = Crops(views=2, local_views=6)


def main():
    """Count waits and launches of the second batch of each recipe."""
    pretend.install()
    device = torch.device(pretend.NAME, 0)
    small, large = ImageSpec.imagenet(32), ImageSpec.imagenet(224)
    recipes = {
        "SimCLR": (Color(small, blur=0.5), small),
        "SimCLR 224": (Color(large, blur=0.5), large),
        "long images": (Color(large, blur=0.5), large),
        "solarize": (Color(small, blur=0.5, solarize=0.2), small),
        "exact hue": (Color(small, exact_hue=True), small),
        "gray": (Gray(GRAY, blur=0.5, erase=0.5), GRAY),
        "bands": (ManyChannel(BANDS, blur=0.5), BANDS),
        "multi-crop": (Color(small, crops=MULTI_CROP, blur=0.5), small),
    }
    found = {}
    for name, (recipe, spec) in recipes.items():
        images = torch.zeros(2, spec.channels, *spec.sides, dtype=torch.uint8).to(device)
        recipe.to(device)
        given = [torch.tensor([0.5, 3.0])] if name.startswith("long") else []
        recipe(images, *given)
        with pretend.counted() as cost:
            recipe(images, *given)
            found[name] = {"waits": dict(cost.waits), "launches": cost.launches}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
