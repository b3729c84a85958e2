"""``ssl_dml threshold`` in a clone: ``python scripts/threshold.py TABLE``."""

from ssl_dml.commands.threshold import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
