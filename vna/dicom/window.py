"""A window that moves forward over a source, and the list of what was wrong on the way."""

from __future__ import annotations

from vna.dicom.source import Source

SIZE = 1 << 14
MOST_WARNINGS = 100


class Window:
    """The bytes around where a walk stands.

    Parameters
    ----------
    source
        The bytes.

    Attributes
    ----------
    buf, base
        The bytes held, and the position of the first of them. Loops that must
        be fast read them here, and anew after each call that may move them.
    warned
        How often something was wrong; the same thing counts each time.
    """

    __slots__ = ("_warnings", "base", "buf", "source", "warned")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.buf = b""
        self.base = 0
        self.warned = 0
        self._warnings: dict[str, None] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong and survived."""
        return tuple(self._warnings)

    def warn(self, text: str) -> None:
        """Note something wrong, once."""
        self.warned += 1
        if len(self._warnings) < MOST_WARNINGS:
            self._warnings[text] = None

    def peek(self, size: int, pos: int) -> bytes:
        """Return up to ``size`` bytes at a position not behind the window."""
        at = pos - self.base
        if at >= 0 and at + size <= len(self.buf):
            return self.buf[at : at + size]
        if size > SIZE:
            return self.source.pread(size, pos)
        self.move(pos)
        return self.buf[:size]

    def move(self, pos: int) -> None:
        """Let the window begin at a position."""
        self.buf = self.source.pread(SIZE, pos)
        self.base = pos
