"""What `make kafka-up` says before it starts anything."""

from __future__ import annotations

import socket

import pytest

from kafka_jars import KafkaLocalError
from kafka_local import require_free_ports


def neighbours() -> tuple[socket.socket, socket.socket]:
    """Two listeners on neighbouring ports."""
    while True:
        first, second = socket.socket(), socket.socket()
        first.bind(("127.0.0.1", 0))
        try:
            second.bind(("127.0.0.1", first.getsockname()[1] + 1))
        except (OSError, OverflowError):
            first.close()
            second.close()
            continue
        first.listen()
        second.listen()
        return first, second


def test_the_busy_port_of_the_two_is_named() -> None:
    """The broker's own, and the controller's behind it; free ones are taken in silence."""
    first, second = neighbours()
    port = first.getsockname()[1]
    try:
        with pytest.raises(KafkaLocalError, match=rf"port {port} \(the broker's.*KAFKA_LOCAL_PORT"):
            require_free_ports(port)
        first.close()
        with pytest.raises(KafkaLocalError, match=rf"port {port + 1} \(the controller's.*KAFKA_LOCAL_PORT"):
            require_free_ports(port)
    finally:
        first.close()
        second.close()
    require_free_ports(port)


def test_a_number_that_is_no_port_is_told() -> None:
    """In words, not by a traceback."""
    with pytest.raises(KafkaLocalError, match="port 65536"):
        require_free_ports(65535)
