# Workers, which are run as scripts and not imported.
collect_ignore_glob = ["*_steps.py"]
