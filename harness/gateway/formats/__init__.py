"""The wire formats, by name."""
