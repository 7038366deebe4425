"""What is trained and what it must cost: the GPT, its presets and data, and closed forms for FLOPs,
bytes and memory.

Importing this package, `model.config`, `model.presets`, `model.parameters`, `model.flops`,
`model.traffic` or `model.memory` needs no torch and no numpy, so that a page of results can be
rebuilt on a machine without them.
"""
