"""``python -m vna.gateways.dicomweb``: the HTTP gateway by itself."""

from __future__ import annotations

import logging
import sys

from vna.config import load_settings
from vna.domain.errors import ConfigurationError
from vna.gateways.dicomweb.server import serve


def main() -> None:
    """Serve as configured."""
    try:
        settings = load_settings()
        logging.basicConfig(
            level=settings.log.level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
        )
        serve(settings)
    except ConfigurationError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
