"""Pictures over HTTP: what a browser gets of what is stored, and what a hostile file costs."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pydicom
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, generate_uid

from tests.support import bombs
from tests.support.bombs import lying_frame, ramp
from tests.support.http_gateway import HttpGateway
from tests.support.ports import wait_until
from tests.support.real_files import real_file
from vna.dicom.decode import ImagePixel
from vna.domain.errors import TooLargeError, UnsupportedError
from vna.retrieve.limited import LimitedPool, Limits
from vna.retrieve.render_job import Job

NAMES = ("CT_small.dcm", "MR_small.dcm", "examples_palette.dcm", "emri_small_RLE.dcm", "test-SR.dcm")
SECONDS = 5


def instance(name: str) -> Dataset:
    return pydicom.dcmread(real_file(name))


def url(data_set: Dataset, below: str = "") -> str:
    study, series, sop = data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID
    return f"/studies/{study}/series/{series}/instances/{sop}{below}"


def made(kind: str, pixels: bytes, syntax: str, rows: int, columns: int) -> Dataset:
    """An instance of one frame of 8 bits."""
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data_set.PatientID = kind
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = generate_uid(), generate_uid()
    data_set.SOPInstanceUID = generate_uid()
    data_set.Rows, data_set.Columns, data_set.SamplesPerPixel = rows, columns, 1
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.BitsAllocated = data_set.BitsStored = 8
    data_set.HighBit, data_set.PixelRepresentation = 7, 0
    data_set.PixelData = pixels
    data_set["PixelData"].VR = "OB"
    return data_set


BOMBS = [made(kind, encapsulate([frame]), JPEG2000, *size) for kind, (frame, *size) in bombs.BOMBS.items()]
PLAIN = made("ramp", ramp().tobytes(), ExplicitVRLittleEndian, 8, 8)


class Crash(Job):
    """What a decoder does that reads beyond its buffer."""

    def run(self) -> tuple[dict[str, Any], bytes]:
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError


class Hog(Job):
    """What a decoder does that believes a header."""

    def run(self) -> tuple[dict[str, Any], bytes]:
        return {}, bytes(8 << 30)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    served = HttpGateway(
        tmp_path_factory.mktemp("rendered"),
        VNA_HTTP__PICTURE_SECONDS=str(SECONDS),
        VNA_HTTP__PICTURE_PROCESSES="1",
        VNA_HTTP__PICTURE_MEMORY_BYTES=str(768 << 20),
    )
    try:
        for data_set in (*(instance(name) for name in NAMES), *BOMBS, PLAIN):
            raw = io.BytesIO()
            data_set.save_as(raw, enforce_file_format=True)
            answer = served.client.post(
                "/studies", content=raw.getvalue(), headers={"Content-Type": "application/dicom"}
            )
            assert answer.status_code == 200, answer.text
        assert not served.ingest().quarantined
        yield served
    finally:
        status = served.stop()
    assert status == 0
    assert "Traceback" not in served.log.read_text()


def picture(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def child_of(gateway: HttpGateway) -> psutil.Process:
    (child,) = psutil.Process(gateway.process.pid).children()
    return child


@pytest.mark.parametrize(("accept", "form"), [("", "JPEG"), ("image/png", "PNG"), ("image/gif", "GIF")])
@pytest.mark.parametrize("below", ["/rendered", "/frames/1/rendered"])
def test_forms(gateway: HttpGateway, accept: str, form: str, below: str) -> None:
    shown = picture(gateway.client.get(url(instance("CT_small.dcm"), below), headers={"Accept": accept or "*/*"}))
    assert (shown.format, shown.size) == (form, (128, 128))


def test_the_window_that_is_asked_for_is_applied(gateway: HttpGateway) -> None:
    # PS3.3 C.11.2.1.3.2, by hand: (x - 32) / 32 + 0.5 is 0 up to 16 and 1 from 48.
    answer = gateway.client.get(url(PLAIN, "/rendered"), params={"accept": "image/png", "window": "32,32,linear-exact"})
    greys = np.asarray(picture(answer)).reshape(-1)
    assert list(greys[[0, 16, 24, 32, 40, 48, 63]]) == [0, 0, 64, 128, 191, 255, 255]


def test_without_a_window_all_greys_are_used(gateway: HttpGateway) -> None:
    greys = np.asarray(picture(gateway.client.get(url(PLAIN, "/rendered"), headers={"Accept": "image/png"})))
    assert (greys.min(), greys.max()) == (0, 255)


def test_viewport_cuts_out_scales_and_flips(gateway: HttpGateway) -> None:
    whole = {"accept": "image/png", "window": "127.5,255,linear-exact"}
    greys = np.asarray(picture(gateway.client.get(url(PLAIN, "/rendered"), params=whole)))
    assert (greys == ramp()).all()
    cut = picture(gateway.client.get(url(PLAIN, "/rendered"), params=whole | {"viewport": "4,2,2,3,-4,2"}))
    assert (np.asarray(cut) == ramp()[3:5, 2:6][:, ::-1]).all()
    assert picture(gateway.client.get(url(PLAIN, "/rendered?viewport=200,100"))).size == (100, 100)


def test_an_animation_shows_every_frame(gateway: HttpGateway) -> None:
    enhanced = instance("emri_small_RLE.dcm")
    shown = picture(gateway.client.get(url(enhanced, "/rendered"), headers={"Accept": "image/gif"}))
    assert getattr(shown, "n_frames", 1) == enhanced.NumberOfFrames
    several = gateway.client.get(url(enhanced, "/frames/1,3/rendered"))
    assert several.headers["content-type"].startswith("multipart/related")
    assert several.content.count(b"Content-Type: image/jpeg") == 2


@pytest.mark.parametrize(
    "wrong",
    [
        "window=a,b",
        "window=40",
        "window=40,0.5,linear",
        "window=40,400,cubic",
        "viewport=0,0",
        "viewport=99999,1",
        "viewport=10,10,500,0",
        "quality=0",
        "quality=high",
        "annotation=everything",
    ],
)
def test_wrong_values_are_named(gateway: HttpGateway, wrong: str) -> None:
    answer = gateway.client.get(url(instance("CT_small.dcm"), f"/rendered?{wrong}"))
    assert answer.status_code == 400
    assert wrong.split("=", maxsplit=1)[0] in answer.json()["detail"]


def test_what_is_not_to_be_had_is_refused(gateway: HttpGateway) -> None:
    report = instance("test-SR.dcm")
    assert gateway.client.get(url(report, "/rendered"), headers={"Accept": "image/jpeg"}).status_code == 406
    assert gateway.client.get(url(report, "/frames/1/rendered")).status_code == 406
    assert gateway.client.get(url(report, "/thumbnail")).status_code == 404
    ct = instance("CT_small.dcm")
    assert gateway.client.get(url(ct, "/rendered"), headers={"Accept": "image/tiff"}).status_code == 406
    assert gateway.client.get(url(ct, "/frames/2/rendered")).status_code == 404


def test_a_client_that_has_the_picture_is_told_so(gateway: HttpGateway) -> None:
    path = url(instance("CT_small.dcm"), "/rendered?quality=70")
    first = gateway.client.get(path)
    again = gateway.client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert gateway.client.get(path.replace("70", "71")).headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize("level", [3, 5, 7, 9])
def test_thumbnails_at_every_level(gateway: HttpGateway, level: int) -> None:
    path = "/".join(url(instance("examples_palette.dcm"), "/frames/1").split("/")[:level])
    shown = picture(gateway.client.get(f"{path}/thumbnail"))
    assert shown.format == "JPEG"
    assert max(shown.size) == 128
    assert len(np.unique(np.asarray(shown))) > 50


def test_annotation_is_written_into_the_picture(gateway: HttpGateway) -> None:
    path = url(instance("MR_small.dcm"), "/rendered?accept=image/png&viewport=400,400")
    plain, written = (np.asarray(picture(gateway.client.get(path + more))) for more in ("", "&annotation=patient"))
    differing = np.argwhere(plain != written)
    assert 200 < len(differing) < 4000
    assert differing[:, 0].max() < 100


def test_wado_uri(gateway: HttpGateway) -> None:
    ct = instance("CT_small.dcm")
    asked = {"requestType": "WADO", "studyUID": ct.StudyInstanceUID, "seriesUID": ct.SeriesInstanceUID}
    asked |= {"objectUID": ct.SOPInstanceUID}
    small = asked | {"contentType": "image/png", "rows": "64", "region": "0,0,0.5,0.25", "imageQuality": "80"}
    small |= {"windowCenter": "40", "windowWidth": "400", "frameNumber": "1", "annotation": "technique"}
    shown = picture(gateway.client.get("/wado", params=small))
    assert (shown.format, shown.size) == ("PNG", (128, 64))
    stored = gateway.client.get("/wado", params=asked | {"contentType": "application/dicom", "transferSyntax": "*"})
    assert pydicom.dcmread(io.BytesIO(stored.content)).PixelData == ct.PixelData
    for more, status in (
        ({"anonymize": "yes"}, 400),
        ({"windowCenter": "1"}, 400),
        ({"contentType": "image/png;transfer-syntax=1.2"}, 400),
        ({"objectUID": ""}, 400),
        ({"requestType": "PULL"}, 400),
        ({"objectUID": "1.2"}, 404),
    ):
        answer = gateway.client.get("/wado", params=asked | more)
        assert answer.status_code == status, answer.text
        assert answer.json()["detail"]


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.PatientID)
def test_a_bomb_costs_one_request(gateway: HttpGateway, bomb: Dataset) -> None:
    for below in ("/rendered", "/thumbnail", "/frames/1"):
        answer = gateway.client.get(url(bomb, below), headers={"Accept": "*/*"})
        assert answer.status_code in {406, 413}, answer.text
        assert answer.json()["detail"]
    assert psutil.Process(gateway.process.pid).memory_info().rss < 400 << 20
    assert gateway.client.get(url(PLAIN, "/rendered")).status_code == 200


def test_a_crash_of_a_decoder_is_told_from_a_frame_that_is_broken() -> None:
    pool = LimitedPool(Limits(processes=1))
    for job, error in ((Crash(), "crash"), (Hog(), "memory")):
        with pytest.raises((UnsupportedError, TooLargeError), match=error):
            pool.run(job)
    assert pool.decode(bytes(lying_frame(8, 8)), JPEG2000, ImagePixel(8, 8)).data
    pids = pool.pids
    pool.close()
    assert len(pids) == 1
    assert not psutil.pid_exists(pids[0])


def test_children_that_are_worn_out_or_idle_are_replaced_and_no_job_is_lost() -> None:
    frame, image = lying_frame(8, 8), ImagePixel(8, 8)
    pool = LimitedPool(Limits(processes=1, jobs=2, idle_seconds=1))
    pool.prepare()
    pool.prepare()
    (first,) = pool.pids
    for _ in range(2):
        assert pool.decode(frame, JPEG2000, image).data
    # The third job finds another child, which began to load before it came.
    wait_until(lambda: [pid != first for pid in pool.pids] == [True], 5, "another child")
    (second,) = pool.pids
    wait_until(lambda: psutil.Process(second).status() == psutil.STATUS_ZOMBIE, 10, "it ends for want of work")
    assert pool.decode(frame, JPEG2000, image).data
    assert pool.pids != [second]
    pool.close()


def test_jobs_that_come_at_once_are_all_done() -> None:
    frame, image = lying_frame(8, 8), ImagePixel(8, 8)
    pool = LimitedPool(Limits(processes=2))
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: pool.decode(frame, JPEG2000, image).data, range(24)))
    assert made == [ramp().tobytes()] * 24
    assert len(pool.pids) <= 2
    pool.close()


def test_a_child_that_is_killed_costs_one_request(gateway: HttpGateway) -> None:
    path = url(PLAIN, "/rendered")
    assert gateway.client.get(path).status_code == 200
    idle = child_of(gateway)
    idle.kill()
    wait_until(lambda: not idle.is_running() or idle.status() == psutil.STATUS_ZOMBIE, 10, "the child is gone")
    assert gateway.client.get(path).status_code == 200
    busy = child_of(gateway)
    assert busy.pid != idle.pid
    busy.suspend()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(gateway.client.get, path)
        with pytest.raises(TimeoutError):
            waiting.result(0.5)
        busy.kill()
        answer = waiting.result(20)
    assert answer.status_code == 503, answer.text
    assert "signal 9" in answer.json()["detail"]
    assert gateway.client.get(path).status_code == 200


def test_a_child_that_takes_too_long_is_ended(gateway: HttpGateway) -> None:
    path = url(PLAIN, "/rendered")
    assert gateway.client.get(path).status_code == 200
    slow = child_of(gateway)
    slow.send_signal(signal.SIGSTOP)
    answer = gateway.client.get(path)
    assert answer.status_code == 413
    assert f"longer than {SECONDS} s" in answer.json()["detail"]
    assert not slow.is_running()
    assert gateway.client.get(path).status_code == 200


def test_children_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    served = HttpGateway(tmp_path)
    ct = instance("CT_small.dcm")
    served.client.post(
        "/studies", content=real_file("CT_small.dcm").read_bytes(), headers={"Content-Type": "application/dicom"}
    )
    served.ingest()
    assert psutil.Process(served.process.pid).children() == []
    assert served.client.get(url(ct, "/rendered")).status_code == 200
    child = child_of(served)
    served.client.close()
    served.archive.close()
    served.process.kill()
    served.process.wait()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10, "the child is gone")
