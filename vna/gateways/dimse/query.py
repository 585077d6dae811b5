"""C-FIND as SCP (PS3.4 C.4.1): patient root, study root, and the retired patient/study only."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from vna.dicom.dataset import decode_identifier, encode_answer
from vna.domain.errors import InvalidQueryError
from vna.gateways.dimse.operation import Operation
from vna.gateways.dimse.statuses import CANCELLED, PENDING, PENDING_UNSUPPORTED_KEYS, SUCCESS, query_failure
from vna.peers.channel import ChannelClosedError
from vna.ports.index import IndexReader
from vna.search.cfind import Options, Root, find, understand
from vna.search.cfind_answer import answer

log = logging.getLogger(__name__)

FIND_ROOTS: Mapping[str, Root] = {
    "1.2.840.10008.5.1.4.1.2.1.1": Root.PATIENT,
    "1.2.840.10008.5.1.4.1.2.2.1": Root.STUDY,
    "1.2.840.10008.5.1.4.1.2.3.1": Root.PATIENT_STUDY_ONLY,
}
"""Information models by the SOP Class UID of their C-FIND."""

# Service-class-application-information of the C-FIND classes (PS3.4 table C.5-2), byte by byte: relational queries and
# combined date-time matching and fuzzy matching of names are done; adjustment of time zones and conversion to enhanced
# multi-frame are not; empty and multiple value matching are.
_SUPPORTED = bytes((1, 1, 1, 0, 0, 1, 1))


def accept_extended(proposed: bytes) -> bytes:
    """Return the answer to SOP class extended negotiation of a C-FIND class, as long as what was proposed."""
    known = bytes(asked & able for asked, able in zip(proposed, _SUPPORTED, strict=False))
    return known.ljust(len(proposed), b"\0")


def negotiated(accepted: bytes) -> Options:
    """Return what an answer of :func:`accept_extended` promises."""
    relational, combined, fuzzy = (accepted[place : place + 1] == b"\1" for place in range(3))
    return Options(relational=relational, combined=combined, fuzzy=fuzzy)


class QueryService:
    """Answers C-FIND requests from the index.

    Parameters
    ----------
    index
        What is searched.
    ae_title
        Retrieve AE Title (0008,0054) of the answers.
    """

    def __init__(self, index: IndexReader, ae_title: str) -> None:
        self._index = index
        self._ae_title = ae_title

    def serve(self, operation: Operation, options: Options) -> None:
        """Answer one request; raises ``ChannelClosedError`` when the association ends before the answer does."""
        request = operation.request
        try:
            try:
                identifier = decode_identifier(request.identifier, request.transfer_syntax)
            except ValueError as error:
                raise InvalidQueryError(f"the identifier cannot be read: {error}") from error
            wanted = understand(identifier, FIND_ROOTS[request.sop_class], options)
            pending = PENDING_UNSUPPORTED_KEYS if wanted.unsupported else PENDING
            for hit in find(self._index, wanted):
                if operation.cancelled():
                    operation.respond(CANCELLED)
                    return
                found = encode_answer(answer(wanted, hit, self._ae_title), request.transfer_syntax)
                operation.respond(pending, found)
        except ChannelClosedError:
            raise
        except Exception as error:  # whatever goes wrong, the requestor gets an answer
            failure = query_failure(error)
            if isinstance(error, InvalidQueryError):
                log.info("C-FIND of %s refused: %s", request.calling, error)
            else:
                log.exception("C-FIND of %s failed", request.calling)
            operation.fail(failure)
            return
        operation.respond(SUCCESS)
