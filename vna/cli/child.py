"""Starts one part of ``vna up``: dies with its supervisor, at a given niceness.

``python -m vna.cli.child NICE SIGNAL PROGRAM ARGUMENT...`` replaces itself by the
program, which gets that signal if the supervisor dies. The kernel sends it once
for each thread of the supervisor, so the program must bear several.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Ask for the signal when the supervisor dies, then become the program."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(sys.argv[2]))
    if os.getppid() == 1:
        sys.exit("the supervisor died before its part could start")
    os.nice(int(sys.argv[1]))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606  # the supervisor names the program


if __name__ == "__main__":
    main()
