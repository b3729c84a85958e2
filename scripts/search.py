"""``ssl_dml search`` in a clone: ``python scripts/search.py build TABLE``."""

from ssl_dml.commands.search import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
