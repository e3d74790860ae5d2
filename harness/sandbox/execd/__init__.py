"""The server inside every sandbox. Standard library only."""
