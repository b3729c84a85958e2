"""``ssl_dml audit`` in a clone: ``python scripts/audit.py SOURCE``."""

from ssl_dml.commands.audit import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
