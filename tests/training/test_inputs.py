import torch

from ssl_dml.training.inputs import batches


class Wide(torch.nn.Module):
    """Its views are the aspects that it was given."""

    def forward(self, samples, aspects=None):
        return [samples if aspects is None else aspects]


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


def test_every_sample_keeps_its_shape(capsys):
    aspects = torch.tensor([0.5, 1.0, 2.0, 3.0])
    found = list(batches(LOADER, Wide(), torch.device("cpu"), None, aspects))
    assert [batch.views[0].tolist() for batch in found] == [[0.5, 1.0], [1.0, 2.0], [2.0, 3.0]]
    assert not capsys.readouterr().out


def test_an_augmentation_of_samples_alone_sees_them_squashed(capsys):
    augment, cpu = torch.nn.Identity(), torch.device("cpu")
    found = list(batches(LOADER, augment, cpu, None, torch.tensor([0.5, 1.0, 2.0, 3.0])))
    assert [int(views.flatten()[0]) for views, _, _ in found] == [0, 1, 2]
    assert capsys.readouterr().out.startswith("Identity sees images squashed to one shape")
