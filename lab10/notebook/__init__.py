"""Functions for notebooks, available as `lab10.experiment`, `lab10.train` and `lab10.runs`."""
