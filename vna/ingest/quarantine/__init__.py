"""Quarantine: entries that cannot be committed, kept with the reason until a person decides.

The bytes lie in ``quarantine/`` of the spool, with the reason beside them. An
acknowledged instance must outlive this host, so its bytes and its reason are
put into the object store as well, below ``quarantine/``, before the entry is
dropped; there they are a backup that only this package touches. A torn file
(shorter than its name says, as the first format of the spool could leave one)
was never acknowledged and stays local.

The same bytes that come again for the same reason are one entry: a person has
one decision to make, however often a sender tries.

An entry is known by twelve hex digits of its name, or as many of them as make
it unique.
"""

from vna.ingest.quarantine.item import QUARANTINE_PREFIX, TORN, Quarantined, torn, torn_size
from vna.ingest.quarantine.keeping import Quarantine

__all__ = ["QUARANTINE_PREFIX", "TORN", "Quarantine", "Quarantined", "torn", "torn_size"]
