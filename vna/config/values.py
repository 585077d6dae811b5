"""What values of several sections are, and what every section is."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MIB = 1 << 20


def ae_title(value: str) -> str:
    """Return an AE title without padding; PS3.5 6.2: at most 16 characters, no backslash, no control character."""
    title = value.strip(" ")
    if not 1 <= len(title) <= 16 or "\\" in title or not (title.isascii() and title.isprintable()):
        message = "an AE title is 1 to 16 printable ASCII characters without backslash"
        raise ValueError(message)
    return title


def origin(value: str) -> str:
    """Return an origin (RFC 6454) as browsers write it: scheme, host, and a port if it is not the scheme's own."""
    parts = urlsplit(value.strip().rstrip("/").lower())
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.geturl() != f"{parts.scheme}://{parts.netloc}"
    ):
        message = "an origin is a scheme, a host and perhaps a port, as https://viewer.example"
        raise ValueError(message)
    own = {"http": 80, "https": 443}[parts.scheme]
    return parts.geturl().removesuffix(f":{own}")


AETitle = Annotated[str, AfterValidator(ae_title)]
Origin = Annotated[str, AfterValidator(origin)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """A section of the configuration: it knows all its settings, and none changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
