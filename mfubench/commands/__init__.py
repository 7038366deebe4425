"""The commands that are not of one feature alone, one file each.

A file has `add_parser(commands)`, which adds the command to the command line, and what runs it.
Nothing heavy is imported before a command runs: `mfubench --help` must answer at once.
"""
