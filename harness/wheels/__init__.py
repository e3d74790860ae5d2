"""Wheels from a package index, fetched without pip."""
