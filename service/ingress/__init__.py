"""The way in: from a request to a record in the log, one door for everything that changes an order."""
