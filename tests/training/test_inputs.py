import torch

from ssl_dml.training.inputs import view_batches


def test_views_and_indices_go_together():
    loader = [(torch.full((2, 1, 3, 3), i), torch.tensor([i, i + 1])) for i in range(3)]
    found = list(view_batches(loader, torch.nn.Identity(), torch.device("cpu")))
    assert [int(views.flatten()[0]) for views, _ in found] == [0, 1, 2]
    assert [indices.tolist() for _, indices in found] == [[0, 1], [1, 2], [2, 3]]
