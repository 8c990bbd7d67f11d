"""Apply: events a second from a full topic into PostgreSQL, one worker process on one core."""
