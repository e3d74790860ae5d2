"""What the agents `recipe`, `search` and `ft_agent` share, and nobody else is given.

`rows` and `layout` read raw source rows into a task's own form; `training` trains one LoRA adapter. They know no task.
"""
