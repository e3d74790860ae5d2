"""The database and the results directory."""
