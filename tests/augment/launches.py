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
    recipes = {
        f"SimCLR {side}": Color(ImageSpec.imagenet(side), blur=0.5) for side in (32, 64, 224)
    }
    recipes["solarize"] = Color(ImageSpec.imagenet(32), blur=0.5, solarize=0.2)
    recipes["exact hue"] = Color(ImageSpec.imagenet(32), exact_hue=True)
    recipes["gray"] = Gray(GRAY, blur=0.5, erase=0.5)
    recipes["bands"] = ManyChannel(BANDS, blur=0.5)
    recipes["multi-crop"] = Color(ImageSpec.imagenet(32), crops=MULTI_CROP, blur=0.5)
    found = {}
    for name, recipe in recipes.items():
        spec = {"gray": GRAY, "bands": BANDS}.get(name)
        channels, side = (spec.channels, spec.size) if spec else (3, 224 if "224" in name else 32)
        images = torch.zeros(2, channels, side, side, dtype=torch.uint8).to(device)
        aspects = torch.full((2,), 1.5).to(device)
        recipe.to(device)
        for name_of, extra in ((name, ()), (f"{name}, long images", (aspects,))):
            recipe(images, *extra)
            with pretend.counted() as cost:
                recipe(images, *extra)
                found[name_of] = {"waits": dict(cost.waits), "launches": cost.launches}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
