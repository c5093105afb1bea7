"""Looking at runs: `lab10.load` restores one, `lab10.runs` lists them, and `report` compares them on one page."""
