"""The child process of :mod:`vna.retrieve.limited`: does jobs one after the other, within limits.

It writes a byte to standard output when it is ready. Then it reads from standard
input a length and a pickled job, and writes two lengths, a JSON object and bytes.
It ends when its input does, and so with the process that started it, and when it
has had nothing to do for long.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import select
import signal
import struct
import sys
from typing import BinaryIO

from vna.domain.errors import ArchiveError, InvalidInputError, TooLargeError

HEAD = struct.Struct("<Q")
REPLY = struct.Struct("<QQ")
READY = b"\1"
"""What it writes when it has loaded what it needs."""


def main() -> None:
    """Take on the limits, then work until the input ends.

    Arguments: bytes of memory, seconds for a job, seconds without one after which it ends.
    """
    memory, seconds, idle = (int(argument) for argument in sys.argv[1:4])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print is not to come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _import()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    # Decoders written in C complain of broken frames there, as often as somebody asks for one.
    os.dup2(null, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    with answers:
        answers.write(READY)
        answers.flush()
        # Nothing lies in the buffer of the input between two jobs: each is read whole.
        while select.select([sys.stdin], [], [], idle)[0] and _work(sys.stdin.buffer, answers, seconds):
            pass


def _import() -> None:
    """Load what every job needs, before the address space is limited and the first client waits."""
    # pydicom before what else wants its dictionaries, which then is spared to load them by itself.
    import pydicom.pixels.decoders.base

    import vna.retrieve.render

    assert pydicom.pixels.decoders.base
    assert vna.retrieve.render


def _work(jobs: BinaryIO, answers: BinaryIO, seconds: int) -> bool:
    head = jobs.read(HEAD.size)
    if len(head) < HEAD.size:
        return False
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
    try:
        # Written by the process that started this one, which never reads a pickle itself.
        job = pickle.loads(jobs.read(HEAD.unpack(head)[0]))  # noqa: S301
        facts, data = job.run()
    except MemoryError:
        facts, data = _failed("too-large", "it needs more memory than one picture may have"), b""
    except TooLargeError as error:
        facts, data = _failed("too-large", str(error)), b""
    except InvalidInputError as error:
        facts, data = _failed("invalid", str(error)), b""
    except ArchiveError as error:
        facts, data = _failed("unsupported", str(error)), b""
    except Exception as error:  # noqa: BLE001  # whatever a file makes a library raise fails this job alone
        facts, data = _failed("unsupported", f"the image cannot be shown: {type(error).__name__}: {error}"), b""
    about = json.dumps(facts).encode()
    answers.write(REPLY.pack(len(about), len(data)) + about)
    answers.write(data)
    answers.flush()
    return True


def _failed(kind: str, message: str) -> dict[str, str]:
    return {"error": kind, "message": message[:1000]}


if __name__ == "__main__":
    main()
