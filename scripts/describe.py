"""``ssl_dml describe`` in a clone: ``python scripts/describe.py SOURCE``."""

from ssl_dml.commands.describe import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
