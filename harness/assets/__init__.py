"""What runs are made from: tasks, agents, base models, data."""
