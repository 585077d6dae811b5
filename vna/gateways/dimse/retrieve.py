"""C-MOVE and C-GET as SCP (PS3.4 C.4.2, C.4.3): sub-operations, counted and told."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from vna.config import DimseSettings
from vna.dicom.dataset import decode_identifier, encode_answer
from vna.dicom.decode import Decoder, decode_frame
from vna.domain.errors import ArchiveError, InvalidQueryError, UnsupportedError
from vna.domain.records import Location
from vna.gateways.dimse.operation import Counts, Operation
from vna.gateways.dimse.outgoing import choose, data_set, open_all
from vna.gateways.dimse.receivers import BrokenMessageError, Receiver, Remote, Requestor, plan
from vna.gateways.dimse.statuses import (
    CANCELLED,
    NO_SUB_OPERATIONS,
    PENDING,
    SOME_FAILED,
    SUCCESS,
    UNKNOWN_DESTINATION,
    Failure,
    is_store_warning,
    selection_failure,
)
from vna.peers.destination import Destination
from vna.ports.index import IndexReader
from vna.ports.objects import ObjectReader
from vna.search.cfind import Root
from vna.search.selection import select

log = logging.getLogger(__name__)

MOVE_ROOTS: Mapping[str, Root] = {
    "1.2.840.10008.5.1.4.1.2.1.2": Root.PATIENT,
    "1.2.840.10008.5.1.4.1.2.2.2": Root.STUDY,
    "1.2.840.10008.5.1.4.1.2.3.2": Root.PATIENT_STUDY_ONLY,
}
GET_ROOTS: Mapping[str, Root] = {
    "1.2.840.10008.5.1.4.1.2.1.3": Root.PATIENT,
    "1.2.840.10008.5.1.4.1.2.2.3": Root.STUDY,
    "1.2.840.10008.5.1.4.1.2.3.3": Root.PATIENT_STUDY_ONLY,
}
"""Information models by the SOP Class UIDs of their C-MOVE and C-GET."""

_PENDING_SECONDS = 0.25
_FAILED_LIST = "00080058"  # FailedSOPInstanceUIDList
_LONGEST_LIST = 0xFFFE  # an explicit UI has 16 bits of length (PS3.5 7.1.2)


def accept_extended(proposed: bytes) -> bytes:
    """Return the answer to extended negotiation of a retrieve class: relational retrieval, no conversion of frames."""
    return (bytes([proposed[0] & 1]) if proposed else b"").ljust(len(proposed), b"\0")


class RetrieveService:
    """Answers C-MOVE and C-GET requests.

    Parameters
    ----------
    index, objects
        Where instances are found, and their bytes.
    settings
        Own AE title, peers, time-outs.
    decode
        Decodes a frame, where a receiver does not take it as stored.
    """

    def __init__(
        self, index: IndexReader, objects: ObjectReader, settings: DimseSettings, decode: Decoder = decode_frame
    ) -> None:
        self._index = index
        self._objects = objects
        self._settings = settings
        self._decode = decode

    def move(self, operation: Operation) -> None:
        """Answer a C-MOVE; raises ``ChannelClosedError`` when its association ends before the answer does."""
        request = operation.request
        peer = self._settings.peers.get(request.destination)
        if peer is None or not peer.host:
            log.info("C-MOVE of %s refused: unknown destination %r", request.calling, request.destination)
            comment = f"{request.destination!r} is no destination of this archive"
            operation.fail(Failure(UNKNOWN_DESTINATION, comment))
            return
        locations = self._select(operation, MOVE_ROOTS)
        if locations is None:
            return
        sub_operations = SubOperations(operation, self._objects, len(locations), self._decode)
        destination = Destination(request.destination, peer, self._settings.tls)
        for proposals, part in plan(locations):
            receiver = Remote(destination, self._settings, proposals, operation)
            try:
                sub_operations.run(receiver, part)
            finally:
                receiver.close()
            if operation.cancelled():
                break
        sub_operations.finish()

    def get(self, operation: Operation, contexts: Mapping[tuple[str, str], int]) -> None:
        """Answer a C-GET.

        Parameters
        ----------
        operation
            The request.
        contexts
            Presentation contexts of which the requestor is the storage SCP, by
            SOP class and transfer syntax.

        Raises
        ------
        ChannelClosedError
            The association ended before the answer did.
        EOFError, ArchiveError
            A data set ended within: the association must be aborted.
        """
        locations = self._select(operation, GET_ROOTS)
        if locations is None:
            return
        sub_operations = SubOperations(operation, self._objects, len(locations), self._decode)
        sub_operations.run(Requestor(operation, contexts), locations)
        sub_operations.finish()

    def _select(self, operation: Operation, roots: Mapping[str, Root]) -> list[Location] | None:
        """Return the instances asked for; ``None`` when the request was refused."""
        request = operation.request
        try:
            try:
                identifier = decode_identifier(request.identifier, request.transfer_syntax)
            except ValueError as error:
                raise InvalidQueryError(f"the identifier cannot be read: {error}") from error
            return list(self._index.locate(select(identifier, roots[request.sop_class])))
        except InvalidQueryError as error:
            log.info("retrieval of %s refused: %s", request.calling, error)
            operation.fail(selection_failure(error))
        except Exception as error:  # whatever goes wrong, the requestor gets an answer
            log.exception("retrieval of %s failed", request.calling)
            operation.fail(selection_failure(error))
        return None


class SubOperations:
    """Sends instances one after the other, counts how it went, and tells the requestor.

    Parameters
    ----------
    operation
        The request.
    objects
        Where the bytes are.
    total
        Number of instances.
    decode
        Decodes a frame.
    """

    def __init__(self, operation: Operation, objects: ObjectReader, total: int, decode: Decoder = decode_frame) -> None:
        self._operation = operation
        self._objects = objects
        self._total = total
        self._decode = decode
        self.counts = Counts(total)
        self._failed: list[str] = []
        self._told = 0.0
        self._reason = ""

    def run(self, receiver: Receiver, locations: Sequence[Location]) -> None:
        """Send instances, until all are sent or the request is cancelled."""
        done = 0
        for location, source in open_all(self._objects, locations):
            if self._operation.cancelled():
                return
            if receiver.dead:
                break
            done += 1
            self._count(location, self._one(receiver, location, source))
            self._tell()
        for location in locations[done:]:
            self._count(location, None)
            self._reason = receiver.dead

    def _one(self, receiver: Receiver, location: Location, source: BinaryIO | ArchiveError) -> int | None:
        """Return the status of one C-STORE, ``None`` if there was none."""
        try:
            if isinstance(source, ArchiveError):
                raise source
            syntax = choose(location, receiver.accepted)
            if syntax is None:
                raise UnsupportedError("the receiver accepts no transfer syntax that it can be had in")
            with data_set(source, location, syntax, self._decode) as (data, length):
                return receiver.store(location, syntax, data, length)
        except BrokenMessageError:
            raise
        except ArchiveError as error:
            self._reason = receiver.dead or str(error)
            log.warning("%s not sent for %s: %s", location.uids.sop, self._operation.request.calling, self._reason)
            return None

    def _count(self, location: Location, status: int | None) -> None:
        counts = self.counts
        counts.remaining -= 1
        if status == SUCCESS:
            counts.completed += 1
            self._operation.sent.append(location)
        elif status is not None and is_store_warning(status):
            counts.warning += 1
            self._operation.sent.append(location)
        else:
            counts.failed += 1
            self._failed.append(location.uids.sop)
            if status is not None:
                self._reason = f"the receiver answers {status:04X}"

    def _tell(self) -> None:
        now = time.monotonic()
        if self.counts.remaining and now - self._told >= _PENDING_SECONDS:
            self._told = now
            self._operation.respond(PENDING, counts=self.counts, remaining=True)

    def finish(self) -> None:
        """Send the last response, with the list of those that failed (PS3.4 C.4.2.1.4.2)."""
        counts = self.counts
        if counts.remaining:
            self._operation.respond(CANCELLED, self._identifier(), counts=counts, remaining=True)
        elif counts.failed and counts.failed == self._total:
            failure = Failure(NO_SUB_OPERATIONS, self._reason)
            self._operation.respond(NO_SUB_OPERATIONS, self._identifier(), counts=counts, failure=failure)
        elif counts.failed or counts.warning:
            failure = Failure(SOME_FAILED, self._reason)
            self._operation.respond(SOME_FAILED, self._identifier(), counts=counts, failure=failure)
        else:
            self._operation.respond(SUCCESS, counts=counts)

    def _identifier(self) -> bytes | None:
        if not self._failed:
            return None
        most = 0
        length = 0
        for uid in self._failed:
            length += len(uid) + 1
            if length > _LONGEST_LIST:
                break
            most += 1
        listed = {_FAILED_LIST: {"vr": "UI", "Value": self._failed[:most]}}
        return encode_answer(listed, self._operation.request.transfer_syntax)
