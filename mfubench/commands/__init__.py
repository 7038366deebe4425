"""The longer commands, one file each; `mfubench/cli.py` collects them."""
