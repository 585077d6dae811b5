"""Files that are being written, before they get their name."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vna.domain.file_range import FileRange
from vna.store.ranges import checked_pieces

_STALE_SECONDS = 86_400
# Said by kernels and file systems without files that have no name.
_NO_NAMELESS = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}
_OPEN = os.O_WRONLY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Scratch:
    """A file that is being written, not yet durable. Without a name it is gone when it is closed."""

    descriptor: int
    path: str

    def link(self, target: str) -> None:
        """Give the file a name; raises ``OSError`` as :func:`os.link`."""
        if self.path:
            os.link(self.path, target)
        else:
            # A descriptor of a folder is asked for, and not looked at, where the path is absolute.
            source = f"/proc/self/fd/{self.descriptor}"
            os.link(source, target, src_dir_fd=self.descriptor, follow_symlinks=True)

    def close(self) -> None:
        """Close the file; if it has got no other name, it goes."""
        os.close(self.descriptor)
        if self.path:
            with suppress(OSError):
                os.unlink(self.path)

    def append(self, data: bytes) -> None:
        """Write bytes."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]


class Temporary:
    """The folder where files are written before they get their name."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._nameless = hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd")

    def write(self, data: bytes, *, named: bool = False) -> Scratch:
        """Write bytes to a new file, which has a name here already if it is to be renamed."""
        made = self._create(named=named)
        try:
            made.append(data)
        except BaseException:
            made.close()
            raise
        return made

    def copy(self, source: FileRange, *, named: bool = False) -> Scratch:
        """Copy a run of bytes to a new file, comparing what is written with its checksum.

        Copied through memory: of a copy that the file system makes by sharing blocks, nobody has seen the bytes,
        and the blocks would stay those of a file that is written over.

        Raises
        ------
        IntegrityError
            Fewer bytes, or others. Nothing is left.
        """
        read = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            made = self._create(named=named)
            try:
                for piece in checked_pieces(read, source):
                    made.append(piece)
            except BaseException:
                made.close()
                raise
        finally:
            os.close(read)
        return made

    def sweep(self) -> None:
        """Remove what a crash left behind more than a day ago."""
        before = time.time() - _STALE_SECONDS
        with suppress(OSError), os.scandir(self.path) as found:
            for item in found:
                with suppress(OSError):
                    if item.stat(follow_symlinks=False).st_mtime < before:
                        os.unlink(item.path)

    def _create(self, *, named: bool) -> Scratch:
        if self._nameless and not named:
            try:
                return Scratch(os.open(self.path, os.O_TMPFILE | _OPEN, 0o640), "")
            except OSError as error:
                # A folder that is gone says the same as a kernel that knows no such files: then the next line tells.
                if error.errno not in _NO_NAMELESS:
                    raise
                self._nameless = error.errno == errno.ENOENT
        path = f"{self.path}/{os.urandom(12).hex()}"
        return Scratch(os.open(path, os.O_CREAT | os.O_EXCL | _OPEN, 0o640), path)
