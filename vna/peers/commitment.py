"""Storage commitment at a remote application entity: an association to report on, as SCP (PS3.4 J.3.3)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from vna.commitment.request import COMMITMENT_CLASS, COMMITMENT_INSTANCE
from vna.config import DimseSettings
from vna.dicom.dataset import EXPLICIT_LITTLE, IMPLICIT_LITTLE, encode_answer
from vna.domain.errors import NotFoundError, UnavailableError
from vna.domain.records import Attributes
from vna.peers import commands
from vna.peers.association import AbortedError, Association, Proposal
from vna.peers.destination import Destination

_SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
_PROPOSAL: Proposal = (COMMITMENT_CLASS, _SYNTAXES)
_AS_SCP = {COMMITMENT_CLASS: (False, True)}
# A pass of many must not wait long for one machine that is switched off.
_CONNECT_SECONDS = 5.0


class ReportAssociation(Association):
    """An association as SCP of the Storage Commitment Push Model."""

    @property
    def context(self) -> tuple[int, str] | None:
        """Context ID and transfer syntax that were accepted, ``None`` if the class was not."""
        for syntax in _SYNTAXES:
            if (COMMITMENT_CLASS, syntax) in self.accepted:
                return self.accepted[COMMITMENT_CLASS, syntax], syntax
        return None

    @property
    def is_scp(self) -> bool:
        """Whether the peer agrees that this side is the SCP."""
        return self.roles.get(COMMITMENT_CLASS, (True, False))[1]

    def report(self, event_type: int, information: Attributes) -> int:
        """Send an N-EVENT-REPORT and return the status of its response (PS3.7 10.1.1).

        Parameters
        ----------
        event_type
            Event Type ID.
        information
            Event Information in the DICOM JSON model.

        Raises
        ------
        UnavailableError
            The association is over, or the class was not accepted.
        """
        context = self.context
        if context is None:
            raise UnavailableError(f"{self._name} does not accept storage commitment")
        data = encode_answer(information, context[1])
        request = commands.event_report_request(COMMITMENT_CLASS, COMMITMENT_INSTANCE, self.next_id(), event_type)
        return self.exchange(context[0], commands.N_EVENT_REPORT_RQ, request, io.BytesIO(data), len(data))


class CommitmentPeers:
    """The application entities that results are reported to: the configured peers that have a host.

    Parameters
    ----------
    settings
        Own AE title, and the peers.
    answer_seconds
        Longest wait for an answer.
    """

    def __init__(self, settings: DimseSettings, answer_seconds: float) -> None:
        self._settings = settings
        self._seconds = answer_seconds

    @contextmanager
    def connect(self, ae_title: str) -> Iterator[ReportAssociation]:
        """Give an association with an application entity; released after the block, aborted after an error in it.

        Raises
        ------
        NotFoundError
            No peer of that title has a host.
        UnavailableError
            It does not answer, or takes no reports.
        ConfigurationError
            A certificate, key or authority of this side cannot be used.
        """
        peer = self._settings.peers.get(ae_title)
        if peer is None or not peer.host:
            raise NotFoundError(f"{ae_title} is no peer with a host (dimse.peers): nobody knows where it listens")
        with self._negotiate(Destination(ae_title, peer, self._settings.tls)) as association:
            yield association

    def _negotiate(self, destination: Destination) -> ReportAssociation:
        """Propose to be the SCP (PS3.4 J.3.3, PS3.7 D.3.3.4); to who does not agree, say nothing of roles."""
        try:
            association = self._associate(destination, roles=True)
        except AbortedError:
            pass  # some do so with what they do not understand
        else:
            if association.context is not None and association.is_scp:
                return association
            association.release()
        association = self._associate(destination, roles=False)
        if association.context is None:
            association.release()
            raise UnavailableError(f"{destination.ae_title} accepts storage commitment in neither role")
        return association

    def _associate(self, destination: Destination, *, roles: bool) -> ReportAssociation:
        return ReportAssociation(
            destination,
            self._settings.ae_title,
            [_PROPOSAL],
            timeout=self._seconds,
            connect_timeout=_CONNECT_SECONDS,
            roles=_AS_SCP if roles else None,
        )
