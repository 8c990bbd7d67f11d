"""The workers: from the received log to the trail, and from the trail to the outcomes topic."""
