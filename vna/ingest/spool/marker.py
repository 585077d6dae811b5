"""The marker of a spool: which format it has, and that it is one at all."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from vna.domain.errors import ConfigurationError
from vna.domain.origin import iso_utc, now_us
from vna.files import write_durably
from vna.ingest.spool.layout import FORMAT

NAME = "format.json"


def check_marker(path: Path, *, create: bool) -> None:
    """See that a folder is a spool of a format that is known here; mark one that has no marker yet.

    Raises
    ------
    ConfigurationError
        It is of a later version, its marker cannot be read, or there is none and none may be made.
    """
    marker = path / NAME
    try:
        found = json.loads(marker.read_bytes())["format"]
    except FileNotFoundError:
        if not create:
            raise ConfigurationError(
                f"VNA_SPOOL__PATH: {path} is no spool: there is no {NAME}. Is its disk mounted? "
                "(VNA_SPOOL__CREATE makes a new one)"
            ) from None
        content = {
            "format": FORMAT,
            "id": os.urandom(8).hex(),
            "created": iso_utc(now_us()),
            "host": socket.gethostname(),
        }
        write_durably(marker, json.dumps(content, indent=1).encode())
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"VNA_SPOOL__PATH: {marker} cannot be read: {error}") from error
    if found != FORMAT:
        raise ConfigurationError(
            f"VNA_SPOOL__PATH: {path} has format {found!r}, written by another version of the archive; "
            f"this one knows {FORMAT}"
        )
