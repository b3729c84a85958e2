"""``ssl_dml evaluate`` in a clone: ``accelerate launch scripts/evaluate.py --config NAME``."""

from ssl_dml.commands.evaluate import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
