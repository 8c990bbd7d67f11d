"""How fast the trail is verified."""
