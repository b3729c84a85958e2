"""Resizing inside of the exported network against Pillow, and sequences against the decoder."""

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_dml.backbones import SequenceBackbone
from ssl_dml.data.recordings import SequenceDecoder
from ssl_dml.exporting.network import embedder, resizing


@pytest.mark.parametrize("size", [(90, 70), (31, 200), (224, 31), (40, 25)])
def test_images_are_resized_as_by_pillow(size):
    small = np.random.default_rng(0).integers(0, 256, (9, 9), dtype=np.uint8)
    image = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    wanted = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR), np.float32)
    values = torch.from_numpy(np.array(image)).float()
    values = (values @ resizing(size[0], 32)[0].T + 0.5).floor()
    values = (resizing(size[1], 32)[0] @ values + 0.5).floor()
    difference = np.abs(values.numpy() - wanted)
    assert difference.max() <= 2
    assert difference.mean() < 0.2  # Pillow takes rows first where only they are shrunk


def test_the_own_size_is_kept_exactly():
    assert torch.equal(resizing(7, 7)[0], torch.eye(7))


def test_sequences_are_cut_padded_and_rounded_as_by_the_decoder(audio):
    backbone = SequenceBackbone(audio, width=8, strides=(5, 4), kernels=(5, 4), context_dim=8)
    network = embedder(backbone)
    decoder = SequenceDecoder(channels=1, length=400, sampling_rate=100, kept_as="int16")
    for length in (150, 400, 731):
        sample = np.random.default_rng(length).normal(0, 0.2, (1, length)).astype(np.float32)
        decoded = torch.from_numpy(decoder.decode(sample[:, :400]).values)[None]
        with torch.no_grad():
            found = network(torch.from_numpy(sample)[None])
            wanted = backbone(network.normalize(decoded))
        wanted = wanted / wanted.norm(dim=1, keepdim=True)
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
