"""Any training script, measured without changing a line of it."""
