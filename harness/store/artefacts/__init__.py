"""Runs that have ended, kept as objects: in an S3-compatible store, or wherever else fsspec leads.

``<place>/<batch>/<run>/<sha256>`` holds what the run's files hold, each content once; ``<place>/<batch>/<run>.json``, written
last, says which files those are. A run without that manifest was cut off on its way, and is taken for nothing.
"""
