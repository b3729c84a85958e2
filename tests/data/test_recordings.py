import numpy as np
import pytest

from ssl_dml.config import ConfigError
from ssl_dml.data.recordings import Recordings, Segments, SequenceDecoder


class Counting(Recordings):
    """Recording ``i`` holds i, i + 0.001, i + 0.002, ..."""

    fingerprint, stamp, channels, dtype = "f", "s", 1, "float32"

    def __init__(self, lengths, labels=None):
        self.lengths, self.labels, self.class_names = lengths, labels, []

    def read(self, index, start, stop):
        return (index + np.arange(self.lengths[index]) / 1000)[None, start:stop]

    def name(self, index):
        return f"recording {index}"


def decoder(channels=1, length=4, kept_as="float32"):
    return SequenceDecoder(channels=channels, length=length, sampling_rate=None, kept_as=kept_as)


@pytest.mark.parametrize(
    ("length", "starts"),
    [(0, [0]), (1, [0]), (10, [0]), (14, [0]), (15, [0, 10]), (20, [0, 10]), (29, [0, 10, 20])],
)
def test_a_rest_counts_from_half_a_piece(length, starts):
    assert Segments(Counting([length]), 10).pieces == [(0, start) for start in starts]


def test_pieces_follow_each_other_with_the_label_of_their_recording():
    segments = Segments(Counting([5, 12], labels=[3, 1]), 5)
    assert segments.labels == [3, 1, 1]
    assert [segments.read(i)[0, 0] for i in range(3)] == [0.0, 1.0, 1.005]
    assert segments.read(2).shape == (1, 5)
    assert [segments.name(i) for i in range(3)] == [
        "recording 0", "recording 1", "recording 1, from value 5",
    ]  # fmt: skip


def test_what_is_short_has_zeros_at_its_end():
    decoded = decoder().decode(np.array([[1.5, -2.0]])).values
    assert decoded.dtype == np.float32
    assert decoded.tolist() == [[1.5, -2.0, 0.0, 0.0]]


def test_audio_is_kept_in_sixteen_bits_and_cut_at_the_loudest():
    decoded = decoder(kept_as="int16").decode(np.array([[0.5, -1.0, 1.0, 1.2]])).values
    assert decoded.dtype == np.int16
    assert decoded.tolist() == [[16384, -32768, 32767, 32767]]


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (np.empty((1, 0)), "is empty"),
        (np.ones((2, 3)), "has 2 channels where the data set has 1"),
        (np.array([[1.0, np.nan]]), "holds values that are not finite"),
        (np.array([[1e300]]), "holds values that are not finite"),
        (np.array([[1.0, 3000.0]]), "reaches 3000 where 1 is the loudest"),
    ],
)
def test_what_cannot_be_used_is_said(sample, words):
    with pytest.raises(ValueError, match=words):
        decoder(kept_as="int16").decode(sample)


def test_the_network_is_told_of_it():
    spec = decoder(channels=2).spec(mean=(0.0, 1.0), std=(1.0, 2.0))
    assert (spec.channels, spec.length, spec.sampling_rate, spec.std) == (2, 4, None, (1.0, 2.0))


def test_more_samples_than_can_be_kept_track_of_are_refused():
    recordings = Counting([2**40])
    with pytest.raises(ConfigError, match=r"data\.sequences\.length 4 .*274,877,906,944 samples"):
        Segments(recordings, 4)
