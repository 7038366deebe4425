"""What the numbers say: rates, guards, the result schema, the pandas frame. Never imports torch."""
