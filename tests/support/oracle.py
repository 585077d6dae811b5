"""Senders that note what a running archive acknowledged, and the comparison with what it answers for afterwards."""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO

import httpx
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.support.archive import RunningArchive
from tests.support.instances import part10
from tests.support.sending import data_set, sha256
from vna.config import PeerSettings
from vna.domain.errors import UnavailableError
from vna.peers.destination import Destination
from vna.peers.dimse import StoreAssociation

STUDIES = 4
_BOUNDARY = "a-boundary-of-the-tests"
_FOUND = re.compile(r"\(0008,0018\) UI \[([0-9.]+)")


@dataclass
class Oracle:
    """What was sent, what of it was acknowledged, and the seconds each acknowledgement took."""

    sent: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def check(self, archive: RunningArchive, seconds: float = 90, *, partial: bool = True) -> None:
        """Wait until the archive is idle, and compare: nothing lost, nothing twice, nothing that was not sent."""
        assert self.errors == []
        assert self.acknowledged
        archive.wait_idle(seconds, partial=partial)
        opened = archive.open()
        try:
            keys = [info.key for info in opened.objects.list("instances/") if info.key.endswith(".dcm")]
            stored = Counter(sha256(data_set(data or b"")) for _, data in opened.objects.get_many(keys))
        finally:
            opened.close()
        assert not set(self.acknowledged.values()) - set(stored), "an acknowledged data set is lost or changed"
        assert not set(stored) - set(self.sent.values()), "a data set is stored that nobody sent"
        assert set(stored.values()) == {1}, "a data set is stored twice"
        by_qido: Counter[str] = Counter()
        series: set[tuple[str, str]] = set()
        studies = archive.qido("studies", limit="5000", includefield="00201208")
        for study in studies:
            uid = study["0020000D"]["Value"][0]
            hits = archive.qido(f"studies/{uid}/instances", limit="5000")
            assert study["00201208"]["Value"] == [len(hits)], "Number of Study Related Instances"
            by_qido.update(hit["00080018"]["Value"][0] for hit in hits)
            series.update((uid, hit["0020000E"]["Value"][0]) for hit in hits)
        self._compare(by_qido)
        assert len(by_qido) == len(stored)
        assert len({study["0020000D"]["Value"][0] for study in studies}) == len(studies)
        self._compare(self._by_cfind(archive, series))
        assert archive.quarantined() == []

    def _compare(self, found: Counter[str]) -> None:
        assert not set(self.acknowledged) - set(found), "an acknowledged instance is not found"
        assert not set(found) - set(self.sent), "an instance is found that nobody sent"
        assert set(found.values()) == {1}, "an instance is found twice"

    @staticmethod
    def _by_cfind(archive: RunningArchive, series: set[tuple[str, str]]) -> Counter[str]:
        found: Counter[str] = Counter()
        for study, one in sorted(series):
            keys = [
                "QueryRetrieveLevel=IMAGE",
                f"StudyInstanceUID={study}",
                f"SeriesInstanceUID={one}",
                "SOPInstanceUID",
            ]
            done = subprocess.run(
                ["/usr/bin/findscu", "-v", "-S", "-aec", "VNA"]
                + [word for key in keys for word in ("-k", key)]
                + ["127.0.0.1", str(archive.dimse_port)],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            found.update(_FOUND.findall(done.stdout + done.stderr))
        return found


class _Sender(threading.Thread):
    """Sends small CT images, each again and again until it is acknowledged, and pauses between them."""

    def __init__(self, archive: RunningArchive, oracle: Oracle, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.archive, self.oracle, self.number, self.ends = archive, oracle, number, stop
        self.source = random.Random(number)
        self.association: StoreAssociation | None = None
        self.give_up = float("inf")

    def send(self, uid: str, data: bytes) -> int:
        """Return the status of one try; raises ``UnavailableError``."""
        if self.association is None:
            peer = PeerSettings(host="127.0.0.1", port=self.archive.dimse_port)
            proposals = [(str(CTImageStorage), (str(ExplicitVRLittleEndian),))]
            self.association = StoreAssociation(Destination("VNA", peer), "ORACLE", proposals, timeout=15)
        context = self.association.accepted[str(CTImageStorage), str(ExplicitVRLittleEndian)]
        body = data_set(data)
        return self.association.store(context, str(CTImageStorage), uid, BytesIO(body), len(body))

    def forget(self) -> None:
        """Drop a broken association."""
        if self.association is not None:
            with contextlib.suppress(Exception):
                self.association.abort()
        self.association = None

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001  # the check raises it where the test sees it
            self.oracle.errors.append(error)
        finally:
            self.forget()

    def _run(self) -> None:
        count = 0
        while not self.ends.is_set():
            count += 1
            study, series = 1 + count % STUDIES, 1 + self.number
            data = part10(count, study=study, series=series, pixels=self.source.randbytes(128))
            uid = f"1.2.3.{study}.{series}.{count}"
            self.oracle.sent[uid] = sha256(data_set(data))
            begin = time.monotonic()  # tries that fail count as waiting
            while True:
                try:
                    status = self.send(uid, data)
                except (UnavailableError, httpx.HTTPError):
                    self.forget()
                else:
                    if status == 0:
                        self.oracle.seconds.append(time.monotonic() - begin)
                        self.oracle.acknowledged[uid] = self.oracle.sent[uid]
                        break
                    self.oracle.refused[status] += 1
                if self.ends.is_set():
                    return  # not acknowledged: the archive answers neither for it nor against it
                time.sleep(0.1)
            time.sleep(0.02)


class _WebSender(_Sender):
    """The same by STOW-RS."""

    def send(self, uid: str, data: bytes) -> int:
        del uid
        body = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + data
        answer = httpx.post(
            f"{self.archive.web}/studies",
            content=body + f"\r\n--{_BOUNDARY}--\r\n".encode(),
            headers={"Content-Type": f'multipart/related; type="application/dicom"; boundary="{_BOUNDARY}"'},
            timeout=15,
        )
        return 0 if answer.status_code == 200 else answer.status_code


@contextmanager
def load(archive: RunningArchive, *, dimse: int = 2, web: int = 1) -> Iterator[Oracle]:
    """Send to an archive from several threads for a block."""
    oracle, stop = Oracle(), threading.Event()
    kinds = [_Sender] * dimse + [_WebSender] * web
    senders = [kind(archive, oracle, number, stop) for number, kind in enumerate(kinds)]
    for sender in senders:
        sender.start()
    try:
        yield oracle
    finally:
        stop.set()
        for sender in senders:
            sender.join(60)
        assert not any(sender.is_alive() for sender in senders)
