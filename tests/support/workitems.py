"""Work items as a stranger's client makes them: by pydicom, sent by httpx, listened to by websockets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx
from pydicom import Dataset
from pydicom.uid import generate_uid
from websockets.sync.client import ClientConnection, connect

JSON, XML = "application/dicom+json", "application/dicom+xml"
GLOBAL, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"


def code(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def work_item(**changes: Any) -> Dataset:
    """Return a data set for a new work item, with all that Table CC.2.5-3 asks for; ``None`` takes something out."""
    request = Dataset()
    request.StudyInstanceUID, request.AccessionNumber, request.RequestedProcedureID = "1.2.3", "A1", "R1"
    given: dict[str, Any] = {
        "TransactionUID": "",
        "ScheduledProcedureStepPriority": "MEDIUM",
        "ProcedureStepLabel": "Find nodules",
        "WorklistLabel": "LUNG-AI",
        "ScheduledProcessingParametersSequence": [],
        "ScheduledStationNameCodeSequence": [code("AI1", "First", "99TEST")],
        "ScheduledStationClassCodeSequence": [],
        "ScheduledStationGeographicLocationCodeSequence": [],
        "ScheduledProcedureStepStartDateTime": "20260101080000+0000",
        "ScheduledWorkitemCodeSequence": [code("110004", "Computer Aided Detection")],
        "CommentsOnTheScheduledProcedureStep": "",
        "InputReadinessState": "READY",
        "InputInformationSequence": [],
        "StudyInstanceUID": "1.2.3",
        "PatientName": "Doe^Jane",
        "PatientID": "4711",
        "IssuerOfPatientID": "",
        "IssuerOfPatientIDQualifiersSequence": [],
        "OtherPatientIDsSequence": [],
        "PatientBirthDate": "",
        "PatientSex": "F",
        "AdmissionID": "",
        "IssuerOfAdmissionIDSequence": [],
        "AdmittingDiagnosesDescription": "",
        "AdmittingDiagnosesCodeSequence": [],
        "ReferencedRequestSequence": [request],
        "ProcedureStepState": "SCHEDULED",
        "ProcedureStepProgressInformationSequence": [],
        "UnifiedProcedureStepPerformedProcedureSequence": [],
        **changes,
    }
    return data_set(**{name: value for name, value in given.items() if value is not None})


def data_set(**values: Any) -> Dataset:
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def performed() -> list[Dataset]:
    """Return a Performed Procedure Sequence that meets the final state requirements."""
    return [
        data_set(
            PerformedStationNameCodeSequence=[code("AI1", "First", "99TEST")],
            PerformedWorkitemCodeSequence=[code("110004", "Computer Aided Detection")],
            PerformedProcedureStepStartDateTime="20260101080100",
            PerformedProcedureStepEndDateTime="20260101080200",
            OutputInformationSequence=[],
        )
    ]


class WorklistClient:
    """A user agent of UPS-RS."""

    def __init__(self, base: str, headers: Mapping[str, str] | None = None) -> None:
        self.base = base
        self.headers = dict(headers or {})
        self.http = httpx.Client(base_url=base, headers=self.headers, trust_env=False, timeout=30)

    def send(
        self, method: str, path: str, body: Dataset | bytes | None, kind: str = JSON, **more: str
    ) -> httpx.Response:
        content = json.dumps([body.to_json_dict()]).encode() if isinstance(body, Dataset) else body
        fields = {name.replace("_", "-"): value for name, value in more.items()}
        headers = {**fields, **({"Content-Type": kind} if content is not None else {})}
        return self.http.request(method, path, content=content, headers=headers)

    def create(self, item: Dataset | bytes, query: str = "", **more: str) -> httpx.Response:
        return self.send("POST", f"/workitems{query and f'?{query}'}", item, **more)

    def created(self, **changes: Any) -> str:
        """Create a work item that is right, and return its UID."""
        uid = str(generate_uid())
        answer = self.create(work_item(**changes), f"workitem={uid}")
        assert answer.status_code == 201, answer.text
        return uid

    def get(self, uid: str) -> Dataset:
        answer = self.http.get(f"/workitems/{uid}", headers={"Accept": JSON})
        assert answer.status_code == 200, answer.text
        (found,) = answer.json()
        return Dataset.from_json(found)

    def update(self, uid: str, transaction: str = "", **values: Any) -> httpx.Response:
        query = f"?transaction-uid={transaction}" if transaction else ""
        return self.send("POST", f"/workitems/{uid}{query}", data_set(**values))

    def state(self, uid: str, state: str, transaction: str | None) -> httpx.Response:
        values = {"ProcedureStepState": state} | ({"TransactionUID": transaction} if transaction is not None else {})
        return self.send("PUT", f"/workitems/{uid}/state", data_set(**values))

    def claimed(self, **changes: Any) -> tuple[str, str]:
        """Create a work item and claim it; return its UID and the Transaction UID."""
        uid, transaction = self.created(**changes), str(generate_uid())
        assert self.state(uid, "IN PROGRESS", transaction).status_code == 200
        return uid, transaction

    def ended(self, state: str, **changes: Any) -> tuple[str, str]:
        """Create a work item and bring it into a final state."""
        uid, transaction = self.claimed(**changes)
        assert (
            self.update(uid, transaction, UnifiedProcedureStepPerformedProcedureSequence=performed()).status_code == 200
        )
        assert self.state(uid, state, transaction).status_code == 200
        return uid, transaction

    def cancel(self, uid: str, **why: Any) -> httpx.Response:
        return self.send("POST", f"/workitems/{uid}/cancelrequest", data_set(**why) if why else None)

    def search(self, **keys: str) -> list[Dataset]:
        answer = self.http.get("/workitems", params=keys)
        assert answer.status_code in {200, 204, 206}, answer.text
        return [Dataset.from_json(found) for found in answer.json()] if answer.content else []

    def subscribe(self, uid: str, ae_title: str, query: str = "") -> httpx.Response:
        return self.http.post(f"/workitems/{uid}/subscribers/{ae_title}{query and f'?{query}'}")

    def unsubscribe(self, uid: str, ae_title: str) -> httpx.Response:
        return self.http.delete(f"/workitems/{uid}/subscribers/{ae_title}")

    def listen(self, ae_title: str, **more: Any) -> ClientConnection:
        url = f"{self.base.replace('http', 'ws', 1)}/subscribers/{ae_title}"
        return connect(url, additional_headers=self.headers | more.pop("headers", {}), proxy=None, **more)

    def close(self) -> None:
        self.http.close()


def event(channel: ClientConnection, seconds: float = 10) -> Dataset:
    """Return the next event of a channel, command elements and all."""
    text = channel.recv(seconds)
    assert isinstance(text, str)
    found: dict[str, Any] = json.loads(text)
    return Dataset.from_json(found)


def warnings(answer: httpx.Response) -> list[str]:
    """Return the texts of the Warning fields with code 299."""
    field = answer.headers.get("Warning", "")
    return [text.strip() for text in re.split(r"(?:, )?299 vna: ", field) if text]
