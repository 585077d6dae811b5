"""Processes for a test to kill: one records events without end, one seals without end.

``python -m tests.support.audit_processes record|seal FOLDER OBJECTS NAME``. The
one that records prints the number of each event after the trail has taken it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from vna.domain.audit import Participant, StudyObject
from vna.security.audit import AuditTrail
from vna.security.audit_events import accessed
from vna.security.audit_seal import Sealer
from vna.store.folder import FolderStore


def main() -> None:
    what, folder, objects, name = sys.argv[1:]
    if what == "seal":
        sealer = Sealer(Path(folder), FolderStore(Path(objects)), "test")
        while True:
            sealer.seal()
            time.sleep(0.002)
    trail = AuditTrail(Path(folder))
    number = 0
    while True:
        number += 1
        trail.record(accessed(Participant(name), Participant("vna"), (StudyObject("1.2.3"),), detail=str(number)))
        print(number, time.time(), flush=True)
        time.sleep(0.001)


if __name__ == "__main__":
    main()
