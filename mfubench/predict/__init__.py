"""Step times of settings and machines that were not run, predicted from a probe of a minute."""
