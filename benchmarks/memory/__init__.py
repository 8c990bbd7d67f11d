"""What each process holds in memory over a long run."""
