"""Step times of settings and machines that were not run, predicted from a probe of a minute."""

HERE = "here"
"""The name of this machine among the names of devices."""
