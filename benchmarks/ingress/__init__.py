"""Ingress: verified webhooks a second, one process on one core, acknowledged by Kafka before they are answered."""
