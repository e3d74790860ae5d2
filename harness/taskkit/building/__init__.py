"""For ``prepare.py``: items and sources, packages, data sets of the hub, splits, overlaps."""
