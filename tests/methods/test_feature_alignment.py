import numpy as np
import torch
from torch.testing import assert_close

from ssl_dml.methods import FeatureAlignment
from ssl_dml.types import Batch

INDICES = torch.arange(6)


def test_the_loss_is_one_minus_the_cosine(flat, run_info, teacher):
    method = FeatureAlignment(flat, run_info, teacher=teacher)
    views = list(torch.randn(2, 6, 1, 8, 8))
    loss, _ = method(Batch(views, INDICES))
    expected = []
    for view in views:
        with torch.no_grad():
            ours, theirs = (x.numpy() for x in (method.projector(flat(view)), method.teacher(view)))
        for a, b in zip(ours, theirs, strict=True):
            expected.append(1 - np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))
    assert_close(loss.item(), float(np.mean(expected)), rtol=1e-5, atol=1e-6)
    loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in method.projector.parameters())
    assert not any(p.requires_grad for p in method.teacher.parameters())


def test_the_student_turns_to_the_teacher(flat, run_info, teacher):
    method = FeatureAlignment(flat, run_info, teacher=teacher)
    optimizer = torch.optim.Adam(method.projector.parameters(), lr=0.01)
    view = torch.randn(6, 1, 8, 8)
    for _ in range(200):
        loss = method(Batch([view], INDICES)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.01
