"""Folders of weights: plain, for timm, and for the hub."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ssl_dml.backbones import Backbone
from ssl_dml.backbones.saved import METADATA, WEIGHTS
from ssl_dml.exporting.card import short
from ssl_dml.files import write_json

# What is said of the data without naming files of the machine.
OPEN = ("samples", "channels", "size", "mean", "std", "test_view", "decoder", "fingerprint")


def write_weights(backbone: Backbone, saved: Mapping[str, Any], folder: Path) -> None:
    """Write weights and ``backbone.json``, which :func:`ssl_dml.load` reads.

    Of the data it says what does not name files of the machine.
    """
    plain = {key: value for key, value in saved.items() if key != "inputs"}
    trained = json.loads(json.dumps(plain.get("trained") or {}))
    data = trained.get("data")
    if isinstance(data, dict):
        kept = {key: data[key] for key in OPEN if key in data}
        trained["data"] = {"source": short(data.get("source")), **kept}
    state = {name: value.contiguous().cpu() for name, value in backbone.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    write_json(folder / METADATA, {**plain, "trained": trained})
