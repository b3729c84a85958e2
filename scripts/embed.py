"""``ssl_dml embed`` in a clone: ``accelerate launch scripts/embed.py --run FOLDER``."""

from ssl_dml.commands.embed import main
from ssl_dml.console import run_main

if __name__ == "__main__":
    run_main(main)
