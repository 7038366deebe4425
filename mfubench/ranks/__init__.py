"""Training on many ranks: what data parallelism costs, measured below torchrun."""
