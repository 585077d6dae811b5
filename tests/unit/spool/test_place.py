from __future__ import annotations

from pathlib import Path

import pytest

from vna.domain.errors import ConfigurationError
from vna.ingest.spool.place import Place, check_place, place_of

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /tmp rw - tmpfs tmpfs rw
31 22 0:40 / /srv/shared rw - nfs4 server:/export rw
32 22 8:17 / /srv/with\\040blank rw - xfs /dev/sdb1 rw
33 31 8:33 / /srv/shared/disk rw - ext4 /dev/sdc1 rw
34 22 0:50 / /over rw - ext4 /dev/sdd1 rw
35 34 0:51 / /over rw - overlay overlay rw
"""
TABLE = """\
# a comment
UUID=1 / ext4 defaults 0 1
UUID=2 none swap sw 0 0
UUID=3 /srv/archive xfs defaults,nofail 0 2
UUID=4 /srv/with\\040blank xfs defaults 0 2
UUID=5 /mnt/stick ext4 noauto 0 0
"""


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    mounts, table = tmp_path / "mountinfo", tmp_path / "fstab"
    mounts.write_text(MOUNTS)
    table.write_text(TABLE)
    return mounts, table


@pytest.mark.parametrize(
    ("folder", "kind", "mount"),
    [
        ("/data/spool", "ext4", "/"),
        ("/tmp/spool", "tmpfs", "/tmp"),
        ("/tmpfoo", "ext4", "/"),
        ("/srv/shared/spool", "nfs4", "/srv/shared"),
        ("/srv/shared/disk/spool", "ext4", "/srv/shared/disk"),
        ("/srv/with blank/spool", "xfs", "/srv/with blank"),
        ("/over/spool", "overlay", "/over"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(
    tables: tuple[Path, Path], folder: str, kind: str, mount: str
) -> None:
    found = place_of(Path(folder), *tables)
    assert (found.kind, found.mount) == (kind, mount)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_spool_that_hosts_share_is_refused_even_if_volatile_ones_are_taken(kind: str) -> None:
    with pytest.raises(ConfigurationError, match="local disk of one host"):
        check_place(Path("/srv/spool"), allow_volatile=True, place=Place(kind, "/srv"))


@pytest.mark.parametrize(
    "place", [Place("tmpfs", "/tmp"), Place("overlay", "/"), Place("ext4", "/", ("/srv/archive",))]
)
def test_what_would_not_outlive_a_restart_is_refused_until_it_is_allowed(place: Place) -> None:
    with pytest.raises(ConfigurationError, match="VNA_SPOOL__ALLOW_VOLATILE"):
        check_place(Path("/srv/spool"), allow_volatile=False, place=place)
    assert check_place(Path("/srv/spool"), allow_volatile=True, place=place).volatile


def test_a_mount_point_that_is_not_mounted_is_seen(tables: tuple[Path, Path]) -> None:
    assert place_of(Path("/srv/archive/vna/spool"), *tables).absent == ("/srv/archive",)
    assert place_of(Path("/srv/with blank/spool"), *tables).absent == ()
    assert place_of(Path("/mnt/stick/spool"), *tables).absent == ()


def test_this_machine_is_understood(tmp_path: Path) -> None:
    assert place_of(tmp_path).kind
