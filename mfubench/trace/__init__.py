"""What a profiler's trace says about a step, without torch: reading, accounting, showing, command."""
