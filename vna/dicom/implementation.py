"""How this archive names itself in DICOM (PS3.7 D.3.3.2, PS3.10 7.1)."""

from __future__ import annotations

IMPLEMENTATION_CLASS_UID = "2.25.22896478762127797813416542058697389467"
"""Implementation Class UID (0002,0012), derived from a UUID (PS3.5 B.2)."""

IMPLEMENTATION_VERSION_NAME = "VNA_0_1"
"""Implementation Version Name (0002,0013), at most 16 characters."""
