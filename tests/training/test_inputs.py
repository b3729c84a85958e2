import torch

from ssl_dml.training.inputs import batches

LOADER = [(torch.full((2, 1, 3, 3), i), torch.tensor([i, i + 1])) for i in range(3)]


def test_views_and_indices_go_together():
    found = list(batches(LOADER, torch.nn.Identity(), torch.device("cpu")))
    assert [int(views.flatten()[0]) for views, _, _ in found] == [0, 1, 2]
    assert [indices.tolist() for _, indices, _ in found] == [[0, 1], [1, 2], [2, 3]]
    assert all(labels is None for _, _, labels in found)


def test_every_sample_keeps_its_label():
    labels = torch.tensor([7, -1, 5, 3])
    found = list(batches(LOADER, torch.nn.Identity(), torch.device("cpu"), labels))
    assert [batch.labels.tolist() for batch in found] == [[7, -1], [-1, 5], [5, 3]]
