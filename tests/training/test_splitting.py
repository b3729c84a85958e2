"""Encoders split over processes by FSDP: equal to those that are whole, and their checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from launching import digest, finish, rows, run, start, wait_for
from PIL import Image
from processes import assert_equal_one, assert_resumed
from torch import nn

from ssl_dml.backbones import Chunked, PatchBackbone, SequenceBackbone, TimmBackbone, load
from ssl_dml.training import make_accelerator
from ssl_dml.training.accelerator import TrainConfig
from ssl_dml.training.splitting import (
    _roots,
    _units,
    asked,
    fitted_state,
    split_encoders,
    unasked,
    whole_state,
)
from ssl_dml.types import ConfigError, SequenceSpec

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).parents[1] / "distributed" / "split_steps.py"
QUICK = ["moco_v3", "arcface_whole"]
SLOW = [
    "simclr", "moco", "simclr_nested", "moco_nested", "simclr_four_views", "simclr_chunked",
    "simclr_last_block", "moco_last_blocks", "moco_split_symmetric", "moco_synchronized", "nnclr",
    "seed_two_views",
    "feature_alignment", "cpc", "cpc_images", "npid_norms", "npid_sharded", "pirl_both_pretexts",
    "arcface_split", "arcface_split_sampled", "triplet",
]  # fmt: skip
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_MIN_NUM_PARAMS": "1000"}
WHOLE_NORM = [
    "--method.init_args.queue_size", "32", "--method.init_args.batch_norm", "synchronized",
]  # fmt: skip
RATE = ["--optimizer.init_args.lr", "0.01"]
SMALL = [
    "--data.batch_size", "16", "--train.save_every", "4", "--train.warmup_epochs", "0",
    "--train.log_every", "1", "--train.precision", "no",
]  # fmt: skip


@pytest.fixture
def launcher(monkeypatch):
    """What accelerate's launcher says when it is asked for FSDP."""
    for name, value in FSDP.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("FSDP_VERSION", "1", r"fsdp_version 1.*write fsdp_version: 2 in its file"),
        ("FSDP_OFFLOAD_PARAMS", "true", "write fsdp_offload_params: false"),
        ("FSDP_RESHARD_AFTER_FORWARD", "false", "write fsdp_reshard_after_forward: true"),
        ("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP", "write fsdp_auto_wrap_policy: SIZE_"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", r"and train\.encode_chunk"),
    ],
)
def test_what_the_launch_file_asks_for_and_cannot_have_is_told(launcher, name, value, line):
    launcher.setenv(name, value)
    with pytest.raises(ConfigError, match=line):
        make_accelerator(TrainConfig(steps=1), seed=0)


@pytest.mark.usefixtures("launcher")
def test_what_the_configuration_asks_for_and_cannot_have_is_told():
    with pytest.raises(ConfigError, match=r"^train\.compile is true.*set it to false"):
        make_accelerator(TrainConfig(steps=1, compile=True), seed=0)


def test_the_launch_file_asks_for_nothing_that_is_refused():
    said = yaml.safe_load((ROOT / "configs/accelerate/fsdp.yaml").read_text())
    assert said["distributed_type"] == "FSDP"
    own = said["fsdp_config"]
    assert own["fsdp_version"] == 2
    assert own["fsdp_auto_wrap_policy"] == "SIZE_BASED_WRAP"
    assert own["fsdp_min_num_params"] < 10_000_000
    assert not own["fsdp_offload_params"]
    assert own["fsdp_reshard_after_forward"]


@pytest.mark.usefixtures("launcher")
def test_one_process_splits_nothing_and_accelerate_is_not_told(gray):
    network = TimmBackbone(gray, name="resnet18", width=0.125)
    split_encoders([network])
    assert all(type(parameter) is nn.Parameter for parameter in network.parameters())
    with unasked():
        assert not asked()
    assert asked()


def test_what_is_split_are_the_networks_that_are_called_by_themselves(gray):
    vit = {"patch_size": 4, "img_size": 8, "embed_dim": 16, "num_heads": 2, "depth": 3}
    network = TimmBackbone(gray, name="vit_tiny_patch16_224", options=vit)
    assert list(_roots(Chunked(network, 2))) == [network.network]
    assert list(_units(network.network, 2_000)) == list(network.network.blocks)
    assert list(_units(network.network, 10**6)) == []
    patches = PatchBackbone(gray, patch=5, stride=1, name="resnet18", width=0.125)
    assert list(_roots(patches)) == [patches.encoder.network]
    spec = SequenceSpec(channels=1, length=40, mean=(0.0,), std=(1.0,))
    sequences = SequenceBackbone(spec, width=8, strides=[2, 2], kernels=[4, 4], context_dim=8)
    assert list(_roots(sequences)) == [sequences.encoder, sequences.network]


def test_a_state_without_split_weights_stays_as_it_is():
    network = nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    for item in (network, optimizer):
        state = item.state_dict()
        assert str(whole_state(item)) == str(state)
        assert fitted_state(item, state) is state


@pytest.fixture(scope="module")
def quick_steps(run_workers, tmp_path_factory):
    return _steps(run_workers, tmp_path_factory.mktemp("steps"), QUICK)


@pytest.fixture(scope="module")
def slow_steps(run_workers, tmp_path_factory):
    return _steps(run_workers, tmp_path_factory.mktemp("steps"), SLOW)


def _steps(run_workers, folder, names):
    for world in (1, 2):
        run_workers(WORKER, world, folder, ",".join(names))

    def load_steps(name, world):
        return [torch.load(folder / f"{name}_{world}_{rank}.pt") for rank in range(world)]

    return load_steps


@pytest.mark.parametrize("name", QUICK)
def test_split_encoders_equal_whole_ones_and_resume(name, quick_steps):
    assert_equal_one(name, quick_steps(name, 2), quick_steps(name, 1)[0])
    assert_resumed(quick_steps(name, 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_more_split_encoders_equal_whole_ones_and_resume(name, slow_steps):
    assert_equal_one(name, slow_steps(name, 2), slow_steps(name, 1)[0])
    assert_resumed(slow_steps(name, 2))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """96 images of four classes."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for label in range(4):
        (root / str(label)).mkdir()
        for number in range(24):
            array = rng.integers(40 * label, 40 * label + 90, (12, 12)).astype(np.uint8)
            Image.fromarray(array).save(root / str(label) / f"{number}.png")
    return root


def losses(folder):
    return [row["train/loss"] for row in rows(folder) if "train/loss" in row]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "own"),
    [
        ("pretrain", ["--config", "moco_v3", "--train.ema", "0.9", "--train.clip_norm", "1.0"]),
        # Norms over two samples, as its own, blow rounding up a million times.
        ("pretrain", ["--config", "moco_v2", *WHOLE_NORM]),
        ("pretrain", ["--config", "default", "--optimizer", "torch.optim.AdamW"]),
        # Its own rate is for a warm-up, and blows rounding up.
        ("finetune", ["--config", "arcface", "--validation.fraction", "0.5", *RATE]),
    ],
)
def test_a_split_run_equals_a_whole_one_and_resumes_on_any_number(script, own, images, tmp_path):
    keys = ["--data.source", images, "--data.cache_dir", tmp_path / "cache", *SMALL]
    command = [*own, *keys, "--train.steps", "10"]
    command += ["--evaluation.k", "5"] if script == "pretrain" else []
    plain, split, killed = (tmp_path / name for name in ("plain", "split", "killed"))

    def begin(folder, env=FSDP):
        return start(script, *command, "--output_dir", folder, processes=2, env=env)

    def ended(process):
        code, out, err = finish(process)
        assert code == 0, err
        return out

    ended(begin(plain, env={}))
    ended(begin(split))
    # Rounding of float32 grows from step to step; in float64 the steps above are compared.
    assert losses(split)[:4] == pytest.approx(losses(plain)[:4], rel=1e-3)
    process = begin(killed)
    wait_for(killed / "checkpoints/step_4", process)
    process.kill()
    finish(process)
    again = ["--output_dir", killed, "--resume", "true"]
    ended(start(script, *again, processes=2, env=FSDP))
    assert digest(killed, 10) == digest(split, 10)
    more = [*again, "--train.steps", "12"]
    assert "made by 2 processes, with 1" in run(script, *more)  # without FSDP
    assert "made by 1 processes, with 2" in ended(
        start(script, *again, "--train.steps", "14", processes=2, env=FSDP)
    )
    assert len(losses(killed)) == 14
    assert all(np.isfinite(losses(killed)))
    for folder in (split, killed):
        network = load(folder / "backbone")
        assert all(parameter.isfinite().all() for parameter in network.parameters())
    table = tmp_path / "table"
    run("embed", "--run", killed, "--output", table)
