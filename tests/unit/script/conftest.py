"""The scripts are run by the driver, and never imported, which would run them too."""

collect_ignore = ["scripts", "drive.py"]
