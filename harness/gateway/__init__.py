"""The LLM gateway: agents reach their backbone through it alone, metered, budgeted and recorded."""
