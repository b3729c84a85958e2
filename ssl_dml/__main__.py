"""The command ``ssl_dml``: in place on one process, by accelerate's launcher on several."""

import os
import sys
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path

from ssl_dml.console import run_main
from ssl_dml.types import ConfigError

COMMANDS = {
    "start": "all of it: from images to a search page",
    "describe": "say what is understood of images or audio, and draw 64 samples",
    "pretrain": "train a backbone without labels",
    "finetune": "train an embedding with labels",
    "evaluate": "kNN, linear probe or retrieval of a finished run, or of tables",
    "probe": "classifiers on a finished run, linear and whole, by the published protocols",
    "compare": "two models on one test set: differences, intervals, p-values",
    "audit": "find copies, leaks, doubtful labels and outliers in data",
    "embed": "write the embeddings of a data set into a table",
    "threshold": "from which similarity on two samples are the same, with its error",
    "search": "find the nearest samples of images, in an index of embeddings",
    "drift": "test whether new data are like those of training",
    "report": "one page on runs: curves, map of embeddings, neighbors, mistakes",
    "runs": "list the runs below a folder with their scores",
    "benchmark": "samples a second of the real run beside the bare network",
    "export": "write a network as ONNX, for torch.export, timm or the hub",
    "push": "upload an exported folder to the hub",
}
SEVERAL = ("pretrain", "finetune", "evaluate", "embed")  # on as many processes as there are
JOURNEY = """Self-supervised pretraining and deep metric learning: from images to an embedding.

  1. ssl_dml describe ~/images
  2. ssl_dml pretrain --data.source ~/images --output_dir runs/mine
  3. ssl_dml evaluate --config linear --run runs/mine
  4. ssl_dml finetune --init runs/mine/backbone --data.source ~/labeled --output_dir runs/tuned
  5. ssl_dml embed --run runs/tuned --data.source ~/images --output tables/mine

Without a source the second trains on 10,000 embedded images. Commands:
{commands}
Every command: --config NAME, --KEY VALUE, --help. Several processes: --processes N."""


def main() -> None:
    """Run the command that the first word names."""
    run_main(lambda: run(sys.argv[1:]))


def run(args: list[str]) -> None:
    """Run a command in place, or start as many processes as are asked for.

    Args:
        args: The command, then its arguments. ``--processes N`` starts N processes; by default
            there is one for each accelerator of the machine.

    Raises:
        ConfigError: If there is no such command.
    """
    if not args or args[0] in ("-h", "--help"):
        lines = (f"  {name:10} {what}" for name, what in COMMANDS.items())
        print(JOURNEY.format(commands="\n".join(lines)))
        return
    name, *rest = args
    if name not in COMMANDS:
        raise ConfigError(f"there is no command {name!r}; choose one of {', '.join(COMMANDS)}")
    processes, rest = _processes(rest)
    if processes > 1 and name in SEVERAL and "--help" not in rest:
        launch([name, *rest], processes)
    else:
        import_module(f"ssl_dml.commands.{name}").main(rest)


def _processes(args: list[str]) -> tuple[int, list[str]]:
    """How many processes to start, and the other arguments."""
    own = ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--processes", nargs="?", const="")
    known, rest = own.parse_known_args(args)
    launched, value = "WORLD_SIZE" in os.environ, known.processes
    if value is None:
        return 1 if launched else _accelerators(), rest
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(f"--processes must be a number from 1, got {value!r}")
    if launched:
        raise ConfigError("--processes is for a single command; the launcher has started some")
    return int(value), rest


def _accelerators() -> int:
    import torch

    return torch.accelerator.device_count() if torch.accelerator.is_available() else 1


def launch(args: list[str], processes: int) -> None:
    """Start processes of this command with accelerate's launcher, and leave with their exit code.

    Processes on a CPU share its cores evenly; without an accelerator they communicate by gloo.
    They import nothing from the current folder unless this process does, as ``python -m`` has it.

    Args:
        args: The command and its arguments.
        processes: How many.
    """
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        os.environ["PYTHONSAFEPATH"] = "1"
    options = [
        "--multi_gpu", "--num_processes", str(processes), "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
        "--module", "ssl_dml",
    ]  # fmt: skip
    try:
        launch_command(launch_command_parser().parse_args([*options, *args]))
    except ChildFailedError as error:  # the process itself has said why
        codes = [failure.exitcode for failure in error.failures.values()]
        sys.exit(next((code for code in codes if code > 0), 1))
    except SignalException as error:  # which the processes were told, and have saved
        sys.exit(128 + error.sigval)


if __name__ == "__main__":
    main()
