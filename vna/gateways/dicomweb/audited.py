"""What the HTTP gateway tells the audit trail: one event a request, told when its answer has ended.

What was stored is told by whoever commits it (:mod:`vna.ingest.audited`). A
viewer asks for the frames of a study one by one: those are added up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vna.bootstrap import Archive
from vna.domain.audit import Action, Outcome, Participant, QueryObject, Role, StudyObject, count_studies
from vna.retrieve import noted
from vna.security import audit_events as events
from vna.security.principals import Permission, Principal

log = logging.getLogger(__name__)

_TRANSFERS = frozenset({"retrieve-study", "retrieve-series", "retrieve-instance", "wado-uri"})
_DOWNLOADS = ("zip", "download")
_SEARCHES = frozenset({"page-search", "page-patient"})
# One event each; everything else that shows instances is added up.
_SINGLE = frozenset({"retrieve-metadata"})
_WORK_ITEMS: dict[str, Action] = {
    "create-workitem": "C",
    "retrieve-workitem": "R",
    "notification-channel": "R",
    **dict.fromkeys(("update-workitem", "change-workitem-state", "request-workitem-cancellation"), "U"),
    **dict.fromkeys(("subscribe", "unsubscribe", "suspend-subscription"), "U"),
}
_LONGEST_REASONS = 500
_LONGEST_PATH = 500
_AREAS = ("/dicom-web/", "/ui/", "/ohif/", "/metrics")
ANONYMOUS = "anonymous"
"""Who asks without credentials."""

_REFUSED = frozenset({401, 403})
# Tells the trail by itself.
_SIGN_IN = "page-sign-in"


@dataclass(slots=True)
class _Answered:
    """One request, and how it was answered."""

    scope: Scope
    found: list[tuple[str, str]]
    status: int = 500
    whole: bool = False
    created: str = ""

    @property
    def name(self) -> str:
        """Name of the resource, empty for none."""
        return str(getattr(self.scope.get("route"), "name", ""))

    @property
    def url(self) -> str:
        """Path and query."""
        query = self.scope.get("query_string", b"").decode("latin-1")
        return f"{self.scope['path']}?{query}" if query else str(self.scope["path"])

    @property
    def target(self) -> str:
        """Path of the resource; of a new one that it has from now on."""
        return self.created or str(self.scope["path"])

    @property
    def client(self) -> Participant:
        """Who asked."""
        address = self.scope.get("client")
        return Participant(user_of(self.scope), requestor=True, address=str(address[0]) if address else "")

    @property
    def view(self) -> str:
        """What is added to what is told, empty for who sees everything as it is."""
        principal = self.scope.get("state", {}).get("principal")
        seen = isinstance(principal, Principal) and not principal.may(Permission.READ)
        return ", de-identified" if seen and principal.may(Permission.READ_DEIDENTIFIED) else ""

    @property
    def studies(self) -> tuple[StudyObject, ...]:
        """The studies that the answer is of."""
        if self.found:
            return count_studies(self.found)
        study = self.scope.get("path_params", {}).get("study")
        return (StudyObject(study),) if study else ()


def user_of(scope: Scope) -> str:
    """Return whose the credentials of a request were, as access control has noted it."""
    principal = scope.get("state", {}).get("principal")
    return str(getattr(principal, "name", "")) or ANONYMOUS


def _area(path: str) -> str:
    """Return the part of the archive that a path lies in, empty for none."""
    return next((area for area in _AREAS if path.startswith(area)), "")


def _location(message: Message) -> str:
    """Return the path of what a request has created, empty if it has created nothing."""
    fields = dict(message.get("headers", ()))
    return urlsplit(fields.get(b"location", b"").decode("latin-1")).path if message["status"] == 201 else ""


def refused_parts(archive: Archive, scope: Scope, parts: Sequence[tuple[str, str, str]], of: int) -> None:
    """Tell of instances that somebody sent and that are not stored.

    Parameters
    ----------
    archive
        Whose trail is told.
    scope
        The request.
    parts
        Of each: Study Instance UID and SOP Class UID, empty where they could not be read, and the reason.
    of
        How many the request had.
    """
    address = scope.get("client")
    source = Participant(user_of(scope), Role.SOURCE, requestor=True, address=str(address[0]) if address else "")
    studies = archive.audit_patients.fill(count_studies((study, kind) for study, kind, _why in parts if study))
    reasons = "; ".join(dict.fromkeys(why for _study, _kind, why in parts))[:_LONGEST_REASONS]
    event = events.transferred(
        source,
        replace(archive.process, role=Role.DESTINATION),
        studies,
        action="C",
        outcome=Outcome.MINOR_FAILURE,
        detail=f"stow, {len(parts)} of {of} refused: {reasons}",
    )
    archive.audit.repeated(("stow-refused", source, tuple(study.uid for study in studies), reasons), event)


class Audited:
    """Passes requests on to an application, and tells what they were.

    Parameters
    ----------
    app
        The application.
    archive
        Whose trail is told.
    """

    def __init__(self, app: ASGIApp, archive: Archive) -> None:
        self._app = app
        self._archive = archive
        # Patients are looked up after the answer, beside the event loop and in the order of the answers.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit-http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] not in {"http", "websocket"} or not self._archive.settings.audit.enabled:
            await self._app(scope, receive, send)
            return
        answered = _Answered(scope, noted.begin())

        async def seen(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                answered.status = message["status"]
                answered.created = _location(message)
            elif message["type"] == "websocket.accept":
                # A channel may be open for days: it is told when it begins.
                answered.status = 101
                self._submit(answered)
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                answered.whole = True

        try:
            await self._app(scope, receive, seen)
        finally:
            if answered.status != 101:
                self._submit(answered)

    def _submit(self, answered: _Answered) -> None:
        tell = self._event(answered)
        if tell is not None:
            self._thread.submit(self._tell, tell)

    def close(self) -> None:
        """Tell what waits."""
        self._thread.shutdown(wait=True)

    def _tell(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception:
            log.exception("audit: a request could not be told")

    def _event(self, answered: _Answered) -> Callable[[], None] | None:
        """Return what tells the trail of a request; ``None`` if there is nothing to tell."""
        if answered.scope.get("state", {}).get("by_content"):
            return None
        if answered.status in _REFUSED and answered.name != _SIGN_IN:
            return lambda: self._refused(answered)
        name = answered.name
        if name.startswith("search-") or name in _SEARCHES:
            return lambda: self._searched(answered)
        if answered.status >= 400:
            return None
        if name in _WORK_ITEMS:
            return lambda: self._work_item(answered)
        if not answered.studies or answered.scope["method"] not in {"GET", "DELETE"}:
            return None
        return lambda: self._retrieved(answered)

    def _refused(self, answered: _Answered) -> None:
        client, path = answered.client, str(answered.scope["path"])[:_LONGEST_PATH]
        detail = f"{answered.scope.get('method', 'WebSocket')} refused with {answered.status}"
        event = events.refused_access(client, self._archive.process, path, detail)
        # By resource: a client that tries every study is one event a minute, with the first path it tried.
        # What is no resource is one event, too, whatever a stranger calls it.
        key = ("refused", client, answered.name or _area(path), answered.status)
        self._archive.audit.repeated(key, event)

    def _searched(self, answered: _Answered) -> None:
        source = replace(answered.client, role=Role.SOURCE)
        process = replace(self._archive.process, role=Role.DESTINATION)
        outcome = Outcome.SUCCESS if answered.status < 400 else Outcome.MINOR_FAILURE
        asked = QueryObject(str(answered.scope["path"]), answered.url)
        told = f"status {answered.status}{answered.view}"
        self._archive.audit.record(events.query(source, process, asked, outcome, told))

    def _work_item(self, answered: _Answered) -> None:
        study, patient = answered.scope.get("state", {}).get("workitem", ("", ""))
        event = events.procedure_record(
            answered.client,
            self._archive.process,
            answered.target,
            (StudyObject(study, patient),) if study else (),
            action=_WORK_ITEMS[answered.name],
            detail=f"{answered.name}, patient {patient}" if patient else answered.name,
        )
        self._archive.audit.record(event)

    def _retrieved(self, answered: _Answered) -> None:
        archive, client, name = self._archive, answered.client, answered.name
        detail = f"{name}{answered.view}"
        studies = archive.audit_patients.fill(answered.studies)
        if answered.scope["method"] == "DELETE":
            archive.audit.record(events.study_deleted(client, studies, f"{name}, status {answered.status}"))
        elif name in _TRANSFERS or any(word in name for word in _DOWNLOADS):
            event = events.transferred(
                replace(archive.process, role=Role.SOURCE),
                replace(client, role=Role.DESTINATION),
                studies,
                action="R",
                outcome=Outcome.SUCCESS if answered.whole else Outcome.MINOR_FAILURE,
                detail=detail if answered.whole else f"{detail}, broken off",
            )
            archive.audit.record(event)
        else:
            event = events.accessed(client, archive.process, studies, detail=detail)
            if name in _SINGLE:
                archive.audit.record(event)
            else:
                archive.audit.repeated(("accessed", client, name, tuple(one.uid for one in studies)), event)
