"""The fake side and the scripts are programs of their own, and never imported."""

collect_ignore = ["fake_side.py", "scripts"]
