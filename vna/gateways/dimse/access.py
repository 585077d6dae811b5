"""Who may call: titles, addresses, and the certificates that titles are bound to."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Literal

from vna.config import DimseSettings
from vna.domain.errors import ConfigurationError
from vna.gateways.dimse.negotiation import AssociateRequest
from vna.gateways.dimse.rejection import Rejection, reject_called, reject_calling
from vna.security.tls_peer import PeerCertificate

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
    certificates
        Certificates of the titles that are bound to some.
    """

    ae_title: str
    peers: dict[str, tuple[_Network, ...]]
    unknown: Literal["loopback", "never", "any"]
    certificates: dict[str, tuple[str, ...]]

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
        certificates = {title: peer.certificates for title, peer in settings.peers.items() if peer.certificates}
        return cls(settings.ae_title, peers, settings.accept_unknown, certificates)

    def check(
        self, request: AssociateRequest, address: str, certificate: PeerCertificate | None = None
    ) -> Rejection | None:
        """Return why a request is rejected, or None.

        Parameters
        ----------
        request
            What was asked.
        address
            Where it came from.
        certificate
            What the peer has shown and TLS has verified, if anything.
        """
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
        bound = self.certificates.get(request.calling, ())
        if bound and certificate is None:
            why = f"peer {request.calling!r} is bound to a certificate (certificates) and shows none"
            return replace(reject_calling(why), alert=True)
        if bound and certificate is not None and not certificate.is_one_of(bound):
            why = f"peer {request.calling!r} shows a certificate that it is not bound to: {certificate}"
            return replace(reject_calling(why), alert=True)
        return None
