"""Two sides that take turns: processes that work when they are told, and pairings of them."""
