"""``ssl_dml finetune`` in a clone: ``accelerate launch scripts/finetune.py --config NAME``."""

from ssl_dml.commands.finetune import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
