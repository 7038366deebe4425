"""The suite: which cases a run measures, how one case becomes one record, and where records go."""
