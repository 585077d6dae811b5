"""A worker without a broker: stores what the spool holds and seals the audit trail, until it is killed.

``python -m tests.support.crash_committer DATA CONTROL``. It tells the recorded disk how far the trail is sealed.
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from tests.support.crash_settings import crash_settings
from tests.support.marks import Marks
from vna.bootstrap import Archive
from vna.domain.errors import ArchiveError

_BATCH = 8
_SEAL_SECONDS = 0.5


def main() -> None:
    archive = Archive(crash_settings(Path(sys.argv[1])))
    marks = Marks(Path(sys.argv[2]))
    committer = archive.committer()
    sealed = time.monotonic()
    while True:
        with contextlib.suppress(ArchiveError):
            names = [entry.name for entry in archive.spool.entries()][:_BATCH]
            if names:
                committer.commit(names)
            if time.monotonic() - sealed > _SEAL_SECONDS:
                sealed = time.monotonic()
                archive.audit_sealer.seal()
                if (head := archive.audit_sealer.head()) is not None:
                    marks("sealed", head.chain, head.record)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
