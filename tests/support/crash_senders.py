"""Senders whose every promise is marked in a recorded disk's log before anybody relies on it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from itertools import count

import httpx
from pydicom.uid import generate_uid

from tests.support.dimse import CT, EXPLICIT, Requestor, context_item, pdu, pdv, store_rq
from tests.support.instances import part10
from tests.support.sending import data_set, sha256
from tests.support.workitems import WorklistClient, work_item

Mark = Callable[..., None]
_NUMBERS = count(1)
# Small, of medium size, and beyond what any log holds.
_SIZES, _WEIGHTS = (9_000, 600_000, 5_000_000), (90, 8, 2)
_FRAGMENT = 100_000
_BOUNDARY = "a-boundary-of-the-tests"


class Sender(threading.Thread):
    """Sends some instances, and ends early when its archive does not answer any more."""

    def __init__(self, port: int, mark: Mark, seed: str, number: int) -> None:
        super().__init__(daemon=True)
        self.port, self.mark, self.number = port, mark, number
        self.source = random.Random(seed)
        self.refused = 0
        self.error: BaseException | None = None

    def instance(self) -> tuple[str, bytes]:
        """Return an instance that nobody else sends, with its UID."""
        number = next(_NUMBERS)
        (size,) = self.source.choices(_SIZES, _WEIGHTS)
        study = 1 + number % 3
        return f"1.2.3.{study}.{study}.{number}", part10(
            number, study=study, series=study, pixels=self.source.randbytes(size)
        )

    def run(self) -> None:
        try:
            self.work()
        except (OSError, AssertionError, httpx.HTTPError):
            return  # the archive was killed, or its disk is dead
        except BaseException as error:  # noqa: BLE001 - raised where the test sees it
            self.error = error

    def work(self) -> None:
        raise NotImplementedError


class StoreSender(Sender):
    """By C-STORE over one association; some of what it sends is no DICOM at all."""

    def work(self) -> None:
        with Requestor.connect(self.port) as requestor:
            requestor.associate(context_item(1, CT, EXPLICIT))
            for _ in range(self.number):
                uid, data = self.instance()
                body = data_set(data) if self.source.random() > 0.05 else self.source.randbytes(700)
                digest = sha256(body)
                self.mark("sent", "data-set", digest)
                requestor.send(pdu(4, pdv(1, 3, store_rq(uid))))
                for at in range(0, len(body), _FRAGMENT):
                    last = 2 if at + _FRAGMENT >= len(body) else 0
                    requestor.send(pdu(4, pdv(1, last, body[at : at + _FRAGMENT])))
                if requestor.status() == 0:
                    self.mark("acknowledged", "data-set", digest)
                else:
                    self.refused += 1


class StowSender(Sender):
    """By STOW-RS, one to three files a request."""

    def work(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            sent = 0
            while sent < self.number:
                files = [self.instance()[1] for _ in range(self.source.randint(1, 3))]
                sent += len(files)
                digests = [sha256(data) for data in files]
                for digest in digests:
                    self.mark("sent", "file", digest)
                parts = [
                    f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + data + b"\r\n"
                    for data in files
                ]
                answer = client.post(
                    f"http://127.0.0.1:{self.port}/dicom-web/studies",
                    content=b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode(),
                    headers={"Content-Type": f'multipart/related; type="application/dicom"; boundary="{_BOUNDARY}"'},
                )
                if answer.status_code == 200:
                    for digest in digests:
                        self.mark("acknowledged", "file", digest)
                else:
                    self.refused += len(files)


class Performer(Sender):
    """Creates, claims and cancels work items."""

    def work(self) -> None:
        client = WorklistClient(f"http://127.0.0.1:{self.port}/dicom-web")
        try:
            for _ in range(self.number):
                uid, lock = str(generate_uid()), str(generate_uid())
                steps: list[tuple[str, str, Callable[[], httpx.Response]]] = [
                    ("SCHEDULED", "-", lambda uid=uid: client.create(work_item(), uid)),  # type: ignore[misc]
                    *(
                        (state, lock, lambda uid=uid, state=state, lock=lock: client.state(uid, state, lock))  # type: ignore[misc]
                        for state in ("IN PROGRESS", "CANCELED")
                    ),
                ]
                for state, transaction, step in steps:
                    words = (uid, state.replace(" ", "_"), transaction)
                    self.mark("tried", *words)
                    if step().status_code not in {200, 201}:
                        self.refused += 1
                        break
                    self.mark("changed", *words)
        finally:
            client.close()
