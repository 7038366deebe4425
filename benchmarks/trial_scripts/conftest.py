"""The scripts are run, and never imported, which would run them too."""

collect_ignore_glob = ["*.py"]
