import torch
from sklearn.metrics import confusion_matrix
from sklearn.neighbors import KNeighborsClassifier

from ssl_dml.evaluation.confusions import confusions, predictions
from ssl_dml.evaluation.hubs import neighborhood


def test_the_worst_are_those_of_the_matrix_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    labels, predicted = torch.randint(5, (2, 200), generator=generator)
    found = confusions(labels, predicted, most=25)
    matrix = confusion_matrix(labels.numpy(), predicted.numpy())
    counts = [len(one.rows) for one in found]
    assert counts == sorted(counts, reverse=True)
    assert len(found) == (matrix > 0).sum() - 5
    for one in found:
        assert len(one.rows) == matrix[one.label, one.predicted]
        assert one.of == matrix[one.label].sum()
        assert all((labels[row], predicted[row]) == (one.label, one.predicted) for row in one.rows)


def test_nothing_is_confused():
    assert confusions(torch.arange(3), torch.arange(3)) == []


def test_predictions_are_those_of_scikit_learn_with_the_sample_left_out():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat(15)
    rows = torch.eye(4)[labels] + 0.7 * torch.randn(60, 4, generator=generator)
    found = predictions(neighborhood(rows, 7), labels, temperature=0.1)
    unit = torch.nn.functional.normalize(rows.double(), dim=1).numpy()
    for row in range(60):
        others = [i for i in range(60) if i != row]
        model = KNeighborsClassifier(
            7, metric="cosine", weights=lambda far: torch.from_numpy((1 - far) / 0.1).exp().numpy()
        ).fit(unit[others], labels[others].numpy())
        assert model.predict(unit[row : row + 1])[0] == found[row]
