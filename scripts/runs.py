"""``ssl_dml runs`` in a clone: ``python scripts/runs.py FOLDER``."""

from ssl_dml.commands.runs import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
