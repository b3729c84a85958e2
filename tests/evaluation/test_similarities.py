import numpy as np
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from ssl_dml.evaluation.similarities import pairs


def table(rows=80):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat(rows // 4)
    return torch.eye(4)[labels] + 0.6 * torch.randn(rows, 4, generator=generator), labels


def truth(rows, labels):
    """Cosine of each pair and whether it is of one class, by numpy."""
    unit = rows.double().numpy()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    first, second = np.triu_indices(len(unit), 1)
    return (unit @ unit.T)[first, second], labels.numpy()[first] == labels.numpy()[second]


def test_the_area_and_the_curve_are_those_of_scikit_learn():
    cosines, same = truth(*table())
    found = pairs(*table())
    assert abs(found.auc() - roc_auc_score(same, cosines)) < 1e-6
    false, true, _thresholds = roc_curve(same, cosines, drop_intermediate=False)
    for mine, accepted, cosine in zip(*found.roc(), strict=True):
        place = np.abs(false - float(mine)).argmin()
        assert abs(false[place] - float(mine)) < 1e-5
        assert true[false <= float(mine) + 1e-6].max() >= float(accepted) - 1e-5
        assert abs((cosines[same] >= float(cosine) - 1e-6).mean() - float(accepted)) < 0.01
    assert found.roc()[0][-1] == 1


def test_histograms_hold_every_pair():
    cosines, same = truth(*table())
    edges, of_same, of_other = pairs(*table()).histogram(20)
    theirs, _ = np.histogram(cosines[same], edges.double().numpy())
    np.testing.assert_allclose(of_same.numpy(), theirs / same.sum(), atol=0.002)
    assert abs(float(of_same.sum()) - 1) < 1e-5
    assert abs(float(of_other.sum()) - 1) < 1e-5


def test_equal_rows_tell_nothing():
    found = pairs(torch.ones(6, 2), torch.tensor([0, 0, 1, 1, 2, 2]))
    assert found.auc() == 0.5
    assert abs(float(found.histogram()[1].sum()) - 1) < 1e-5
