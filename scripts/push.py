"""``ssl_dml push`` in a clone: ``python scripts/push.py SOURCE``."""

from ssl_dml.commands.push import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
