"""From where requests without credentials are answered: by default from nowhere."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import Scope

from vna.config import HttpSettings

_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"})


class Anonymous:
    """The rule for requests without credentials.

    With ``loopback``, a request that came through a proxy is not from loopback,
    although its connection is; and the Host field must name this host, so that
    a page of a stranger in a browser here cannot reach the archive by pointing
    its own name at 127.0.0.1.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._allow = settings.allow_anonymous
        self._names = {
            "localhost",
            settings.host.lower(),
            (urlsplit(settings.base_url).hostname or "localhost").lower(),
        }

    def refusal(self, scope: Scope) -> str:
        """Return why a request is refused, empty if it is not."""
        if self._allow == "any":
            return ""
        if self._allow == "never":
            return "requests without credentials are not answered"
        client = scope.get("client")
        if not client or not _is_loopback(client[0]):
            return f"requests without credentials are answered from loopback only, not from {client and client[0]}"
        headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
        for name, value in headers:
            if name in _FORWARDED:
                return "requests without credentials are answered from loopback only, not through a proxy"
            if name == b"host" and not self._is_own(value.decode("latin-1")):
                return "the Host field names another host than this one"
        return ""

    def _is_own(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        return name in self._names or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return parsed.is_loopback
