"""Who may call: titles and addresses."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal

from vna.config import DimseSettings
from vna.domain.errors import ConfigurationError
from vna.gateways.dimse.negotiation import AssociateRequest, Rejection, reject_called, reject_calling

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> _Address | None:
    """Return an address, an IPv4 one mapped into IPv6 as IPv4; None for what is none (a Unix socket)."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Decides whether a calling application entity is served.

    Attributes
    ----------
    ae_title
        The title that calls must name.
    peers
        Known calling titles, and the networks each may call from; none: any.
    unknown
        From where titles that are not known may call.
    """

    ae_title: str
    peers: dict[str, tuple[_Network, ...]]
    unknown: Literal["loopback", "never", "any"]

    @classmethod
    def configured(cls, settings: DimseSettings) -> AccessPolicy:
        """Read the policy; raises ``ConfigurationError`` naming an address that is none."""
        peers: dict[str, tuple[_Network, ...]] = {}
        for title, peer in settings.peers.items():
            networks = []
            for text in peer.addresses:
                try:
                    networks.append(ipaddress.ip_network(text, strict=False))
                except ValueError as error:
                    message = f"VNA_DIMSE__PEERS (dimse.peers.{title}.addresses): {error}"
                    raise ConfigurationError(message) from error
            peers[title] = tuple(networks)
        return cls(settings.ae_title, peers, settings.accept_unknown)

    def check(self, request: AssociateRequest, address: str) -> Rejection | None:
        """Return why a request is rejected, or None."""
        if request.called != self.ae_title:
            return reject_called(f"called AE title {request.called!r}, this is {self.ae_title!r}")
        found = parse_address(address)
        networks = self.peers.get(request.calling)
        if networks is None:
            if self.unknown == "any" or (self.unknown == "loopback" and found is not None and found.is_loopback):
                return None
            return reject_calling(f"calling AE title {request.calling!r} at {address} is not a peer (dimse.peers)")
        if networks and (found is None or not any(found in network for network in networks)):
            return reject_calling(f"peer {request.calling!r} may not call from {address}")
        return None
