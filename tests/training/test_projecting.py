import torch
from accelerate import Accelerator
from PIL import Image

from ssl_dml.backbones import TimmBackbone
from ssl_dml.data import DataConfig, load_train
from ssl_dml.reporting import finish, start_trackers
from ssl_dml.training import project


def test_the_embeddings_are_those_of_the_network(tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(3):
        Image.new("L", (32, 32), 80 * i).save(tmp_path / f"images/{i}.png")
    samples = load_train(DataConfig(source=str(tmp_path / "images")))
    options = {"layers": [1, 1, 1, 1]}
    network = TimmBackbone(samples.spec, name="resnet18", width=0.125, options=options)
    accelerator = Accelerator(cpu=True)
    start_trackers(accelerator, tmp_path / "run", step=0, steps=4, steps_per_epoch=1.0)
    project(accelerator, network.train(), samples, step=4)
    finish(accelerator)
    text = (tmp_path / "run/tensorboard/00004/embeddings/tensors.tsv").read_text()
    found = torch.tensor([[float(x) for x in line.split("\t")] for line in text.splitlines()])
    normalized = (samples[torch.arange(3)][0] / 255 - samples.spec.mean[0]) / samples.spec.std[0]
    with torch.no_grad():
        expected = network.eval()(normalized)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
