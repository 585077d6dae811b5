"""Where an instance came from, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Protocol = Literal["dimse", "stow", "import"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The sender of an instance.

    Attributes
    ----------
    protocol
        How it arrived.
    calling
        Calling AE title (PS3.8 9.3.2), user or host name; may be empty.
    called
        Called AE title, or empty.
    address
        Network address of the sender, without port; may be empty.
    """

    protocol: Protocol
    calling: str = ""
    called: str = ""
    address: str = ""


def now_us() -> int:
    """Return the present as microseconds since 1970-01-01 UTC."""
    return int(datetime.now(UTC).timestamp() * 1_000_000)


def iso_utc(microseconds: int) -> str:
    """Return microseconds since 1970 as ``YYYY-MM-DDTHH:MM:SS.ffffffZ``.

    The text sorts as the time does.
    """
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:06d}Z"
