"""Serving agents over a unix socket: what the agent API and the LLM gateway both stand on."""
