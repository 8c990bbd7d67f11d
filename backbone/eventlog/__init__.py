"""The event log: one port (`backbone.eventlog.port`), Apache Kafka and an embedded SQLite log behind it."""
