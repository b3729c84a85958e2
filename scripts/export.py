"""``ssl_dml export`` in a clone: ``python scripts/export.py SOURCE``."""

from ssl_dml.commands.export import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
