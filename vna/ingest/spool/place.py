"""Where a spool may lie: on a disk of this host, which is there, and whose bytes outlive a power cut."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from vna.domain.errors import ConfigurationError

_MOUNTS = Path("/proc/self/mountinfo")
_TABLE = Path("/etc/fstab")
# Locks, the page cache and sizes are of one host alone there.
_NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "ocfs2", "gfs2", "beegfs")
)
_VOLATILE = frozenset(("tmpfs", "ramfs", "overlay", "aufs", "devtmpfs"))


@dataclass(frozen=True, slots=True)
class Place:
    """The file system of a folder.

    Attributes
    ----------
    kind
        Its type as the kernel names it; empty if unknown.
    mount
        Where it is mounted.
    absent
        Mount points above the folder that /etc/fstab names and that are not mounted.
    """

    kind: str
    mount: str
    absent: tuple[str, ...] = ()

    @property
    def network(self) -> bool:
        """Whether other hosts may change it."""
        return self.kind in _NETWORK or self.kind.startswith(("fuse.sshfs", "fuse.gluster", "fuse.ceph", "fuse.s3"))

    @property
    def volatile(self) -> str:
        """Why what is written there may be gone tomorrow, empty if it stays."""
        if self.absent:
            return f"{self.absent[0]} is in {_TABLE} and is not mounted"
        return f"{self.mount} is {self.kind}" if self.kind in _VOLATILE else ""


def place_of(folder: Path, mounts: Path = _MOUNTS, table: Path = _TABLE) -> Place:
    """Return the file system that a folder, which need not be there yet, is in."""
    path = os.path.realpath(folder)
    kind = mount = ""
    mounted = set()
    for point, found in _mounts(mounts):
        mounted.add(point)
        # A later line lies over an earlier one.
        if _below(path, point) and len(point) >= len(mount):
            kind, mount = found, point
    absent = tuple(point for point in _expected(table) if _below(path, point) and point not in mounted)
    return Place(kind, mount, absent)


def check_place(folder: Path, *, allow_volatile: bool, place: Place | None = None) -> Place:
    """Return the file system of a spool.

    Raises
    ------
    ConfigurationError
        It is shared by several hosts; or it is volatile, or not mounted, and that is not allowed.
    """
    place = place or place_of(folder)
    if place.network:
        raise ConfigurationError(
            f"VNA_SPOOL__PATH: {folder} is on {place.kind} ({place.mount}). A spool is on a local disk of one host: "
            "locks and syncs hold on no other"
        )
    if place.volatile and not allow_volatile:
        raise ConfigurationError(
            f"VNA_SPOOL__PATH: {folder} would not outlive a power cut or a restart: {place.volatile} "
            "(VNA_SPOOL__ALLOW_VOLATILE takes it all the same)"
        )
    return place


def _below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def _mounts(mounts: Path) -> list[tuple[str, str]]:
    """Return mount points and types, in the order of mounting (proc(5))."""
    found = []
    try:
        text = mounts.read_text(errors="surrogateescape")
    except OSError:  # not Linux
        return []
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        parts = fields.split(" ")
        if len(parts) > 4 and rest:
            found.append((_unescape(parts[4]), rest.split(" ")[0]))
    return found


def _expected(table: Path) -> list[str]:
    """Return the mount points that are mounted at every start (fstab(5))."""
    found = []
    try:
        text = table.read_text(errors="surrogateescape")
    except OSError:
        return []
    for line in text.splitlines():
        parts = line.split()
        if len(parts) < 4 or parts[0].startswith("#") or not parts[1].startswith("/") or parts[1] == "/":
            continue
        if "noauto" not in parts[3].split(","):
            found.append(_unescape(parts[1]).rstrip("/"))
    return found


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
