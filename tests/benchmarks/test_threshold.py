import pytest
import torch
from benchmarks import coverage_table
from benchmarks.audit import EMOJI
from benchmarks.identities import embedded


def test_draws_are_counted(capsys):
    coverage_table(identities=100, far=0.05, fpir=0.1, draws=4)
    said = capsys.readouterr().out
    assert "known exactly: 4 draws of 100 identities, FAR 0.05" in said
    shares = dict(line.rsplit(maxsplit=1) for line in said.splitlines()[1:6])
    assert {float(share) for share in shares.values()} <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert float(shares["interval"]) >= 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("things", "count", "each"), [("hangul", 600, 24), ("emoji", 1407, 4)])
def test_samples_of_an_identity_are_alike(things, count, each):
    if things == "emoji" and not EMOJI.exists():
        pytest.skip("Debian's package fonts-noto-color-emoji is not installed")
    table = embedded(things)
    classes, counts = table.labels.unique(return_counts=True)
    assert set(counts.tolist()) == {each}
    assert len(classes) == count or things == "emoji"
    rows = table.embeddings[table.labels.argsort()].view(-1, each, 32)
    mixed = table.embeddings[torch.randperm(len(table.labels))].view(-1, each, 32)
    of_one, of_many = (one.mean(dim=1).norm(dim=1).mean() for one in (rows, mixed))
    assert of_one > 1.5 * of_many
