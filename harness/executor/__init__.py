"""Runs batches of runs."""
