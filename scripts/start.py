"""``ssl_dml start`` in a clone: ``python scripts/start.py ~/images``."""

from ssl_dml.commands.start import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
