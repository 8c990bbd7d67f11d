"""What the workers and the HTTP face both stand on: settings, logs, metrics, the event log, the store."""
