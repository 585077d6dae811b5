"""``vna ohif``: install the OHIF viewer, which the gateway then serves below ``/ohif/``."""

from __future__ import annotations

import base64
import fcntl
import gzip
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

import click

from vna.config import load_settings
from vna.domain.errors import ConfigurationError, IntegrityError, UnavailableError
from vna.domain.quantities import size
from vna.web.ohif import BASE, LEFT_OUT, installed

VERSION = "3.13.2"
PACKAGE = f"@ohif/app@{VERSION}"
SHA512 = "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
"""Digest of the package, in base64: what is installed is what this archive was tested with."""

_DIST = "package/dist/"
_MARK = "vna-version.txt"
_INSTALLED = f"{VERSION} for {BASE}"
# Where scripts look for their further parts, and styles for their fonts: published for the root of a host.
_ROOTS = {".js": (b'__webpack_require__.p = "', b'/";'), ".css": (b"url(", b"/")}
_COMPRESSED = frozenset({".js", ".mjs", ".css", ".html", ".json", ".svg", ".wasm"})
_SECONDS = 600


@click.group("ohif", short_help="Install the OHIF viewer.")
def command() -> None:
    """Install the OHIF viewer, which the gateway then serves below /ohif/."""


@command.command("install", short_help="Download OHIF, check it and unpack it.")
@click.option(
    "--from",
    "archive",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"A package that was downloaded elsewhere (npm pack {PACKAGE}).",
)
@click.option("--force", is_flag=True, help="Install again what is installed.")
def install_command(archive: Path | None, force: bool) -> None:
    """Download OHIF by npm, check that it is the version this archive was tested with, and unpack it.

    It goes into VNA_HTTP__OHIF_PATH (ohif below the data folder). A running
    gateway serves it at once.
    """
    folder = load_settings().ohif_path
    if not install(folder, archive, force=force):
        click.echo(f"OHIF {VERSION} is installed in {folder}")
        return
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    click.echo(f"OHIF {VERSION} installed in {folder} ({size(used)})")


def install(folder: Path, archive: Path | None = None, *, force: bool = False) -> bool:
    """Install OHIF into a folder; the folder is whole or as it was, whatever happens.

    Parameters
    ----------
    folder
        Where; what is there is replaced.
    archive
        The package, if it is on this machine; it is downloaded otherwise.
    force
        Install also if this version is there.

    Returns
    -------
    bool
        Whether anything was installed.

    Raises
    ------
    IntegrityError
        The package is not the one that this archive was tested with.
    UnavailableError
        It cannot be downloaded.
    ConfigurationError
        The folder holds something else than OHIF.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The lock lies beside the folder, so that two who install at once do it once.
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not force and _version(folder) == _INSTALLED:
            return False
        if folder.exists() and not installed(folder) and any(folder.iterdir()):
            raise ConfigurationError(f"{folder} holds something else than OHIF; name another folder or empty it")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            made = Path(scratch) / "made"
            _unpack(archive or _download(Path(scratch)), made)
            (made / _MARK).write_text(f"{_INSTALLED}\n")
            if folder.exists():
                folder.rename(Path(scratch) / "before")
            made.rename(folder)
    return True


def _version(folder: Path) -> str:
    mark = folder / _MARK
    return mark.read_text().strip() if installed(folder) and mark.is_file() else ""


def _download(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError(
            f"npm is not installed; run `npm pack {PACKAGE}` elsewhere and give the file with --from"
        )
    try:
        done = subprocess.run(  # noqa: S603  # a fixed command
            [npm, "pack", PACKAGE, "--ignore-scripts", "--silent", "--pack-destination", str(folder)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"npm did not download {PACKAGE} within {_SECONDS} s") from error
    found = list(folder.glob("*.tgz"))
    if done.returncode or len(found) != 1:
        raise UnavailableError(f"npm cannot download {PACKAGE}: {done.stderr.strip() or done.stdout.strip()}")
    return found[0]


def _unpack(archive: Path, folder: Path) -> None:
    with archive.open("rb") as file:
        digest = base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
        if digest != SHA512:
            raise IntegrityError(f"{archive.name} is not {PACKAGE}: its SHA-512 is {digest}, not {SHA512}")
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:gz") as package:
            for member in package:
                below = member.name.removeprefix(_DIST)
                if not member.isfile() or below == member.name or not _wanted(below):
                    continue
                content = package.extractfile(member)
                assert content is not None
                _write(folder / below, content.read())


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    return name not in LEFT_OUT and path.suffix != ".map" and ".." not in path.parts and not path.is_absolute()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if (place := _ROOTS.get(path.suffix)) is not None:
        before, after = place
        content = content.replace(before + after, before + BASE.rstrip("/").encode() + after)
    path.write_bytes(content)
    if path.suffix in _COMPRESSED and len(content) > 1024:
        small = gzip.compress(content, 6, mtime=0)
        if len(small) < 0.9 * len(content):
            path.with_name(path.name + ".gz").write_bytes(small)
