"""The network between the machines of a run: by which interface gloo is to talk.

Left alone, gloo takes the address of a machine's own name. Debian and Ubuntu write 127.0.1.1 for it
into /etc/hosts, and at that address every machine finds itself, not the others.
"""

import fcntl
import os
import socket
import struct
from ipaddress import ip_address
from pathlib import Path

import torch.distributed as dist

NAMED = "GLOO_SOCKET_IFNAME"  # by the user, who then knows better
OUTSIDE = "outside"  # the store's key of the meeting point's address as other machines see it
SIOCGIFADDR = 0x8915
ADDRESSES_V6 = Path("/proc/net/if_inet6")  # lines of address, four numbers, interface


def tell_address(store: dist.Store, host: str) -> None:
    """Before all have shown themselves: where this machine finds `host`, if not in itself."""
    if outside := [address for address in _addresses(host) if not _is_loopback(address)]:
        store.set(OUTSIDE, outside[0])


def choose_interface(store: dist.Store) -> None:
    """Once they have: have gloo take the interface on the way to the meeting point.

    Left to gloo is a run on one machine, and what Linux does not tell (a second address of IPv4 of
    an interface).
    """
    if NAMED not in os.environ and store.check([OUTSIDE]):
        if name := _interface_to(store.get(OUTSIDE).decode()):
            os.environ[NAMED] = name


def _addresses(host: str) -> list[str]:
    """Those of IPv4 before those of IPv6, as an interface has them, and gloo takes its first."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [where[0] for _, _, _, _, where in sorted(found, key=lambda one: one[0])]


def _is_loopback(address: str) -> bool:
    return ip_address(address).is_loopback


def _interface_to(address: str) -> str:
    """Name of the interface by which packets leave for `address`; empty if it is not known."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 1))  # sends nothing, asks for the way
        except OSError:
            return ""
        own = probe.getsockname()[0]
        if family == socket.AF_INET6:
            return _interface_of_v6(own)
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe, SIOCGIFADDR, request)
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(answer[20:24]) == own:
                return name
    return ""


def _interface_of_v6(own: str) -> str:
    digits = ip_address(own).packed.hex()
    rows = map(str.split, ADDRESSES_V6.read_text().splitlines())
    return next((row[-1] for row in rows if row[0] == digits), "")
