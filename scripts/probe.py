"""``ssl_dml probe`` in a clone: ``python scripts/probe.py --run X``."""

from ssl_dml.commands.probe import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
