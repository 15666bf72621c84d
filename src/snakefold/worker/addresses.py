"""Which IP addresses are the internet's: IANA's registries of special-purpose addresses, as a table.

What `ipaddress` says of an address differs from one version of Python to the next.
https://www.iana.org/assignments/iana-ipv4-special-registry, iana-ipv6-special-registry, and the address space
registries (multicast, reserved, site-local). All of a range is refused, also where a few of its addresses are
reachable: nobody serves files there.
"""

from __future__ import annotations

import ipaddress

_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private use
            "100.64.0.0/10",  # shared address space (carrier-grade NAT)
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link local; metadata of clouds
            "172.16.0.0/12",  # private use
            "192.0.0.0/24",  # IETF protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays, deprecated
            "192.168.0.0/16",  # private use
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved; broadcast
        ),
    )
)
#: Everything else in IPv6 is loopback, link or site local, unique local, multicast, mapped, or not assigned.
_V6_UNICAST = ipaddress.IPv6Network("2000::/3")
_V6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # IETF protocol assignments: Teredo, benchmarking, ORCHID, drone identifiers
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
#: Forms that lead to the IPv4 address in their last four bytes: mapped, and NAT64.
_V4_INSIDE = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's: not private, loopback, link-local, reserved or such."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _V4)
    if ip.scope_id is not None:  # of one link of this machine
        return False
    if any(ip in network for network in _V4_INSIDE):
        return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip in _V6_UNICAST and not any(ip in network for network in _V6)
