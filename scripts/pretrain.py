"""``ssl_dml pretrain`` in a clone: ``accelerate launch scripts/pretrain.py --config NAME``."""

from ssl_dml.commands.pretrain import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
