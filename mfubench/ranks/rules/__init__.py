"""What the turns of all ranks say: the account, the slow rank, what cannot be merged."""
