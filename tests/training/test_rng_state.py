import io
import random

import numpy as np
import torch

from ssl_dml.training.rng_state import restore, rng_state


def draws():
    return torch.rand(2).tolist(), random.random(), np.random.rand(2).tolist()  # noqa: NPY002


def test_every_generator_goes_on_where_it_was_also_through_a_file():
    state = rng_state()
    expected = draws()
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    restore(loaded)
    assert draws() == expected
