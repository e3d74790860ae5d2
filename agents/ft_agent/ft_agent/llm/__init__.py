"""Thinking with a language model: client, typed calls, prompts within limits, and the planner that rests on them."""
