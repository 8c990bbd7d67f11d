"""Who is calling, when trusted proxies stand before us.

aiohttp-remotes does not fit: its filtered mode believes X-Forwarded-For from any peer, its strict mode wants the exact
number of hops and answers 400 where a header is odd. Here an address is believed only as far as trusted proxies
vouch for it, read from the nearest hop outward, and nothing is ever refused: the address is for logs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

from schemas.errors import SettingsInvalid

Network = IPv4Network | IPv6Network
_MOST_HOPS = 20


def read_networks(trusted: Sequence[str]) -> tuple[Network, ...]:
    """Addresses and networks as such. Raises SettingsInvalid naming those that are neither."""
    networks: list[Network] = []
    wrong: list[str] = []
    for text in trusted:
        try:
            networks.append(ip_network(text, strict=False))
        except ValueError:
            wrong.append(text)
    if wrong:
        raise SettingsInvalid(f"MEALTRAIL_TRUSTED_PROXIES: no address or network: {', '.join(wrong)}")
    return tuple(networks)


def remote_reader(trusted: Sequence[str]) -> Callable[[web.BaseRequest], str | None]:
    """A function that gives a request's caller. With no trusted proxies the peer's address is the answer."""
    networks = read_networks(trusted)
    if not networks:
        return lambda request: request.remote

    def read_remote(request: web.BaseRequest) -> str | None:
        remote = request.remote
        hops = [hop.strip() for line in request.headers.getall("X-Forwarded-For", []) for hop in line.split(",")]
        for hop in reversed(hops[-_MOST_HOPS:]):
            if remote is None or not _is_in(_address(remote), networks):
                break
            claimed = _address(hop)
            if claimed is None:
                break
            remote = str(claimed)
        return remote

    return read_remote


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_in(address: IPv4Address | IPv6Address | None, networks: tuple[Network, ...]) -> bool:
    return address is not None and any(address in network for network in networks)
