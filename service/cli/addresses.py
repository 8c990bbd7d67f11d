"""Where this machine's own mealtrail answers, as far as the settings say, and whether its ports can be had."""

from __future__ import annotations

import socket

from backbone.listening import explain_refusal
from backbone.settings import Settings

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def url_at(host: str, port: int) -> str:
    """An address that is listened on, as a URL."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def own_url(settings: Settings) -> str:
    """How callers reach us: MEALTRAIL_PUBLIC_URL, else host and port; without a slash at its end."""
    return (settings.public_url or url_at(_ANY.get(settings.host, settings.host), settings.port)).rstrip("/")


def require_free_ports(settings: Settings) -> None:
    """Looks whether both ports can be had now, before anything is made that a refused start would leave behind.

    Raises AddressInUse or ConfigurationError, naming the setting. Somebody may still take a port before it is bound.
    """
    for host, port, setting in (
        (settings.host, settings.port, "MEALTRAIL_"),
        (settings.admin_host, settings.admin_port, "MEALTRAIL_ADMIN_"),
    ):
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            raise explain_refusal(error, host, port, setting) from error
