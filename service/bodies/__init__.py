"""Bodies as strangers send them, read and checked."""
