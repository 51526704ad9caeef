"""The network between the machines of a run: by which interface gloo is to talk.

Left alone, gloo takes the address of a machine's own name. Debian and Ubuntu write 127.0.1.1 for it
into /etc/hosts, and at that address every machine finds itself, not the others.
"""

import fcntl
import os
import socket
import struct

import torch.distributed as dist

NAMED = "GLOO_SOCKET_IFNAME"  # by the user, who then knows better
OUTSIDE = "outside"  # the store's key of the meeting point's address as other machines see it
SIOCGIFADDR = 0x8915


def tell_address(store: dist.Store, host: str) -> None:
    """Before all have shown themselves: where this machine finds `host`, if not in itself."""
    if not _is_loopback(address := _address(host)):
        store.set(OUTSIDE, address)


def choose_interface(store: dist.Store) -> None:
    """Once they have: have gloo take the interface on the way to the meeting point.

    Left to gloo is a run on one machine, and what Linux does not tell (an address of IPv6, a second
    address of an interface).
    """
    if NAMED not in os.environ and store.check([OUTSIDE]):
        if name := _interface_to(store.get(OUTSIDE).decode()):
            os.environ[NAMED] = name


def _address(host: str) -> str:
    """Of IPv4; the loopback's where there is none."""
    try:
        return socket.gethostbyname(host)
    except OSError:
        return "127.0.0.1"


def _is_loopback(address: str) -> bool:
    return address.startswith("127.")


def _interface_to(address: str) -> str:
    """Name of the interface by which packets leave for `address`; empty if it is not known."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 1))  # sends nothing, asks for the way
        except OSError:
            return ""
        own = probe.getsockname()[0]
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe, SIOCGIFADDR, request)
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(answer[20:24]) == own:
                return name
    return ""
