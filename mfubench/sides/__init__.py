"""Training scripts as sides that take turns: what one is, a pair of them, their worktrees."""
