"""``ssl_dml drift`` in a clone: ``python scripts/drift.py --run RUN NEW_DATA``."""

from ssl_dml.commands.drift import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
