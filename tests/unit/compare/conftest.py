"""The fake side is a program of its own, and never imported."""

collect_ignore = ["fake_side.py"]
