"""Reads what an agent handed in, on both sides of the sandbox's wall: names, headers, shapes, values; loads no code."""
