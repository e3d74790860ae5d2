"""Doors to neighbouring tools: each module is imported by the tool it is for, and by nothing of ours."""
