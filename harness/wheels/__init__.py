"""Wheels from a package index, fetched without pip."""

from harness.wheels.client import fetch_wheel
from harness.wheels.settings import Sources, sources

__all__ = ["Sources", "fetch_wheel", "sources"]
