"""What may be said about agents: statistics, leaderboard, comparison."""
