"""``ssl_dml compare`` in a clone: ``python scripts/compare.py A B``."""

from ssl_dml.commands.compare import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
