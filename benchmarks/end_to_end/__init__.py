"""End to end: from the moment when a webhook is due to the moment when anybody can see its verdict."""
