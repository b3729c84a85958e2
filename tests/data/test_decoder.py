"""What every decoder promises, for each that there is."""

from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from ssl_dml.data.decode import ImageDecoder
from ssl_dml.data.decoder import Decoder
from ssl_dml.data.recordings import SequenceDecoder
from ssl_dml.types import ImageSpec, SequenceSpec

EVERY = [
    (ImageDecoder(channels=3, size=5), Image.new("L", (7, 9), 40), ImageSpec),
    (
        SequenceDecoder(channels=2, length=6, sampling_rate=8000, kept_as="int16"),
        np.full((2, 4), 0.5, np.float32),
        SequenceSpec,
    ),
    (
        SequenceDecoder(channels=1, length=3, sampling_rate=None, kept_as="float32"),
        np.full((1, 5), 7.0, np.float32)[:, :3],
        SequenceSpec,
    ),
]


@pytest.mark.parametrize(("decoder", "sample", "_kind"), EVERY)
def test_a_sample_has_the_shape_and_type_that_were_told_before(decoder, sample, _kind):
    decoded = decoder.decode(sample).values
    assert (decoded.shape, decoded.dtype) == (decoder.shape, decoder.dtype)


@pytest.mark.parametrize(("decoder", "_sample", "kind"), EVERY)
def test_a_network_is_told_the_same_channels_and_extent(decoder, _sample, kind):
    channels, *extent = decoder.shape
    numbers = {"mean": (0.5,) * channels, "std": (0.1,) * channels}
    spec = decoder.spec(**numbers)
    assert isinstance(spec, kind)
    side = spec.size if kind is ImageSpec else spec.length
    assert (spec.channels, {side}) == (channels, {*extent})
    assert (spec.mean, spec.std) == (numbers["mean"], numbers["std"])


def test_equal_settings_are_equal_decoders_so_that_a_store_is_found_again():
    one, same = (ImageDecoder(channels=1, size=8) for _ in range(2))
    assert one == same
    assert asdict(one) == asdict(same)
    assert one != ImageDecoder(channels=1, size=8, high=255.0)


def test_a_decoder_without_its_methods_is_refused():
    with pytest.raises(TypeError, match="abstract"):
        Decoder()
