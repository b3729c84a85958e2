import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.methods import SEED
from ssl_dml.types import Batch

INDICES = torch.arange(6)


def test_a_step_is_the_papers_pseudocode(flat, run_info, teacher):
    method = SEED(flat, run_info, teacher=teacher, queue_size=20, temperature=0.3)
    view = torch.randn(6, 1, 8, 8)
    queue = method.queue.keys.clone()
    loss, _ = method(Batch([view], INDICES))
    taught = method.teacher(view)
    student = F.normalize(method.projector(flat(view)), dim=1)
    logits = [
        torch.cat([(rows * taught).sum(1, keepdim=True), rows @ queue.T], dim=1) / tau
        for rows, tau in ((student, 0.3), (taught, 0.01))
    ]
    assert_close(loss, F.cross_entropy(logits[0], logits[1].softmax(dim=1)))
    assert_close(method.queue.keys[:6], taught)
    assert_close(method.queue.keys[6:], queue[6:])


def test_views_count_equally_and_the_first_fills_the_queue(flat, run_info, teacher):
    method = SEED(flat, run_info, teacher=teacher, queue_size=20)
    state = {name: value.clone() for name, value in method.state_dict().items()}
    views, losses = list(torch.randn(2, 6, 1, 8, 8)), []
    for view in views:
        method.load_state_dict(state)
        losses.append(method(Batch([view], INDICES)).loss)
    method.load_state_dict(state)
    assert_close(method(Batch(views, INDICES)).loss, sum(losses) / 2)
    assert_close(method.queue.keys[:6], method.teacher(views[0]))


def test_the_student_comes_to_see_as_the_teacher(flat, run_info, teacher):
    method = SEED(flat, run_info, teacher=teacher, queue_size=6)
    optimizer = torch.optim.SGD(method.projector.parameters(), lr=0.5, momentum=0.9)
    view, losses = torch.randn(6, 1, 8, 8), []
    for _ in range(60):
        loss = method(Batch([view], INDICES)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    rows = method.teacher(view)
    own = torch.cat([torch.ones(6, 1), rows @ method.queue.keys.T], dim=1) / 0.01
    least = torch.distributions.Categorical(logits=own).entropy().mean()
    # From the second step the queue holds the teacher's embeddings of this view.
    assert losses[-1] - least < 0.5 * (losses[1] - least)


def test_refuses_settings_that_cannot_be(flat, run_info, teacher):
    with pytest.raises(ValueError, match="queue_size must be at least the batch, 6; got 3"):
        SEED(flat, run_info, teacher=teacher, queue_size=3)
    with pytest.raises(ValueError, match=r"teacher_temperature must be positive, got 0\.0"):
        SEED(flat, run_info, teacher=teacher, teacher_temperature=0.0)
