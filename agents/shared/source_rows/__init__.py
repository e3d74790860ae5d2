"""What the agents `recipe`, `search` and `ft_agent` share: reading raw source rows into a task's own form. It knows no task."""
