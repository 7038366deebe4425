"""What is trained and what it must cost: the GPT, its presets and data, and closed forms for FLOPs,
bytes and memory.

Importing this package and its modules `config`, `presets`, `parameters`, `flops`, `traffic` and
`memory` needs no torch and no numpy, so that a page of results can be rebuilt on a machine without
them.
"""
