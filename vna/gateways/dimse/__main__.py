"""``python -m vna.gateways.dimse``: run the DIMSE gateway."""

from __future__ import annotations

import sys

from vna import observability
from vna.config import load_settings
from vna.domain.errors import ConfigurationError
from vna.gateways.dimse.server import serve


def main() -> int:
    """Run the gateway as the configuration says; return the exit status."""
    try:
        settings = load_settings()
        observability.configure(settings.log)
        serve(settings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
