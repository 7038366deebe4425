"""How a training step is built, warmed up and timed. Knows devices and workloads, not pytest."""
