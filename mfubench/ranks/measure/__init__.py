"""What every rank does, and who starts it."""
