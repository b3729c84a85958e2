"""``ssl_dml report`` in a clone: ``python scripts/report.py RUN``."""

from ssl_dml.commands.report import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
