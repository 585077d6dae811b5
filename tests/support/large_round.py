"""A large instance in and out of a running archive by every way, with foreign clients, each step timed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet

from tests.support.archive import RunningArchive
from tests.support.large import Large, data_set_digest, file_chunks
from tests.support.ports import answers, wait_until

_SECONDS = 900
MOVER = "MOVER"


class Round:
    """Runs the steps and keeps their seconds.

    Parameters
    ----------
    archive
        The running archive, which knows ``MOVER`` as a peer on ``mover_port``.
    folder
        For what clients send and receive; each file goes after its step.
    """

    def __init__(
        self, archive: RunningArchive, mover_port: int, folder: Path, say: Callable[[str], None] = lambda _line: None
    ) -> None:
        self._archive = archive
        self._mover_port = mover_port
        self._folder = folder
        self._say = say
        self.seconds: dict[str, float] = {}

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - begin
        self._say(f"{name}: {self.seconds[name]:.1f} s")

    def run(self, stored: Large, posted: Large) -> None:
        """Take one instance in by C-STORE and one by STOW-RS, and fetch each by every way."""
        kind = "JPEG" if stored.encapsulated else "native"
        with self._step(f"{kind}: made"):
            path = stored.write(self._folder / "large.dcm")
        with self._step(f"{kind}: C-STORE by dcmsend"):
            self._send(path)
        path.unlink()
        with self._step(f"{kind}: then searchable"):
            self._wait_for(stored)
        with self._step(f"{kind}: STOW-RS"):
            self._post(posted)
        with self._step(f"{kind}: then searchable again"):
            self._wait_for(posted)
        for large, how in ((stored, "C-STORE"), (posted, "STOW-RS")):
            with self._step(f"{kind}: WADO-RS instance, from {how}"):
                self._fetch(large)
            with self._step(f"{kind}: WADO-RS frame, from {how}"):
                self._frame(large)
        with self._step(f"{kind}: C-GET"):
            if stored.encapsulated:
                self._get_as_stored(stored)
            else:
                self._get(stored)
        with self._step(f"{kind}: C-MOVE to storescp"):
            self._move(posted)

    def _send(self, path: Path) -> None:
        options = ["-v", "--decompress-never", "-aec", "VNA"]
        done = _run(["/usr/bin/dcmsend", *options, "127.0.0.1", str(self._archive.dimse_port), str(path)])
        assert "with status SUCCESS" in done, done

    def _post(self, large: Large) -> None:
        boundary = "a-boundary-of-a-large-request"

        def body() -> Iterator[bytes]:
            yield f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            yield from large.chunks()
            yield f"\r\n--{boundary}--\r\n".encode()

        content_type = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
        answer = httpx.post(
            f"{self._archive.web}/studies",
            content=body(),
            headers={"Content-Type": content_type, "Accept": "application/dicom+json"},
            timeout=_SECONDS,
        )
        assert answer.status_code == 200, answer.text

    def _wait_for(self, large: Large) -> None:
        found = lambda: self._archive.qido("instances", SOPInstanceUID=large.instance)  # noqa: E731
        wait_until(found, _SECONDS, f"{large.instance} is searchable", every=0.25)

    def _url(self, large: Large) -> str:
        return f"{self._archive.web}/studies/{large.study}/series/{large.series}/instances/{large.instance}"

    def _fetch(self, large: Large) -> None:
        accept = {"Accept": "application/dicom; transfer-syntax=*"}
        with httpx.stream("GET", self._url(large), headers=accept, timeout=_SECONDS) as answer:
            assert answer.status_code == 200, answer.read()
            assert data_set_digest(answer.iter_raw()) == large.digest

    def _frame(self, large: Large) -> None:
        middle = large.frames // 2
        wanted = large.frame(middle)
        kind = "image/jpeg" if large.encapsulated else "application/octet-stream"
        accept = {"Accept": f'multipart/related; type="{kind}"; transfer-syntax={large.syntax}'}
        answer = httpx.get(f"{self._url(large)}/frames/{middle}", headers=accept, timeout=_SECONDS)
        assert answer.status_code == 200, answer.text
        assert wanted.rstrip(b"\0") in answer.content
        assert len(answer.content) < len(wanted) + 1000

    def _keys(self, large: Large) -> list[str]:
        pairs = {
            "QueryRetrieveLevel": "IMAGE",
            "StudyInstanceUID": large.study,
            "SeriesInstanceUID": large.series,
            "SOPInstanceUID": large.instance,
        }
        return [part for name, value in pairs.items() for part in ("-k", f"{name}={value}")]

    def _get(self, large: Large) -> None:
        folder = self._folder / "got"
        folder.mkdir()
        options = ["-v", "-S", "+B", "+xe", "-aec", "VNA", *self._keys(large), "-od", str(folder)]
        said = _run(["/usr/bin/getscu", *options, "127.0.0.1", str(self._archive.dimse_port)])
        self._check_only_file(folder, large, said)

    def _get_as_stored(self, large: Large) -> None:
        """Fetch by a client that takes the stored transfer syntax alone; getscu proposes uncompressed ones always."""
        found: list[str] = []

        def on_store(event: evt.Event) -> int:
            found.append(data_set_digest(file_chunks(event.dataset_path)))
            return 0

        entity = AE()
        entity.dimse_timeout = entity.network_timeout = _SECONDS
        entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
        entity.add_requested_context(large.sop_class, large.syntax)
        keys = Dataset()
        keys.QueryRetrieveLevel = "IMAGE"
        keys.StudyInstanceUID, keys.SeriesInstanceUID, keys.SOPInstanceUID = large.study, large.series, large.instance
        _config.STORE_RECV_CHUNKED_DATASET = True  # to a file, not into memory
        try:
            association = entity.associate(
                "127.0.0.1",
                self._archive.dimse_port,
                ae_title="VNA",
                ext_neg=[build_role(large.sop_class, scp_role=True)],
                evt_handlers=[(evt.EVT_C_STORE, on_store)],
            )
            assert association.is_established
            answers = list(association.send_c_get(keys, StudyRootQueryRetrieveInformationModelGet))
            association.release()
        finally:
            _config.STORE_RECV_CHUNKED_DATASET = False
        assert [status.Status for status, _ in answers][-1] == 0, answers
        assert found == [large.digest]

    def _move(self, large: Large) -> None:
        folder = self._folder / "moved"
        folder.mkdir()
        syntax = "+xy" if large.encapsulated else "+xe"
        receiver = subprocess.Popen(
            ["/usr/bin/storescp", "+B", syntax, "-od", str(folder), str(self._mover_port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: answers("127.0.0.1", self._mover_port), 20, "storescp listens")
            options = ["-v", "-S", "-aec", "VNA", "-aem", MOVER, *self._keys(large)]
            said = _run(["/usr/bin/movescu", *options, "127.0.0.1", str(self._archive.dimse_port)])
        finally:
            receiver.kill()
            receiver.wait()
        self._check_only_file(folder, large, said)

    def _check_only_file(self, folder: Path, large: Large, said: str) -> None:
        files = list(folder.iterdir())
        assert len(files) == 1, said
        assert data_set_digest(file_chunks(files[0])) == large.digest, said
        files[0].unlink()
        folder.rmdir()


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", timeout=_SECONDS, check=False
    )
    return done.stdout + done.stderr
