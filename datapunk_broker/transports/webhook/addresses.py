"""Which addresses a webhook may go to: the public ones, and what the settings allow beside them."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNICAST = ip_network("2000::/3")
"""All of IPv6 that is public; NAT64, multicast, site-local and IPv4-compatible addresses are outside."""

REFUSED = tuple(
    ip_network(network)
    for network in (
        *("192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4"),  # protocol assignments, 6to4 relays, multicast
        *("2001::/23", "2002::/16", "3fff::/20"),  # Teredo and other protocols, 6to4, documentation
    )
)
"""What ``is_global`` lets through."""


def read_address(text: str) -> Address:
    """Return an address, an IPv4 one where it is only mapped into IPv6. Raises ValueError."""
    address = ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def may_be_reached(address: Address, allowed: Collection[Network]) -> bool:
    """Return whether a webhook may go there."""
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv6Address) and address not in UNICAST:
        return False
    return address.is_global and not any(address in network for network in REFUSED)
