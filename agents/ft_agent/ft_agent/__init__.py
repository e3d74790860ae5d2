"""FT-Agent: plans, trains, measures and plans again until the time is used up. Knows the harness only through the agent API."""
