"""``python -m vna.gateways.dimse``: run the DIMSE gateway."""

from __future__ import annotations

import logging
import sys

from vna.config import load_settings
from vna.domain.errors import ConfigurationError
from vna.gateways.dimse.server import serve


def main() -> int:
    """Run the gateway as the configuration says; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        serve(load_settings())
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
