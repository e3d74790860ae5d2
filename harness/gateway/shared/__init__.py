"""One gateway for many runs: it holds the keys, and shares out what providers allow. Budgets and records stay with the runs."""
