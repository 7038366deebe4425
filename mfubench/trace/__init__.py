"""What a profiler's trace says about a step: reading, accounting, showing. Without torch."""
