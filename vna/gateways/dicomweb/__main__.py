"""``python -m vna.gateways.dicomweb``: the HTTP gateway by itself."""

from __future__ import annotations

import sys

from vna.config import load_settings
from vna.domain.errors import ConfigurationError
from vna.gateways.dicomweb.server import serve


def main() -> None:
    """Serve as configured."""
    try:
        serve(load_settings())
    except ConfigurationError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
