"""Reading: what became of a callback, an order and its trail, lists, and the feed of changes."""
