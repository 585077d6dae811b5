"""Where the sub-operations of a C-MOVE or C-GET go: to a remote application entity, or back to the requestor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from vna.config import DimseSettings
from vna.dicom.dataset import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from vna.domain.errors import ArchiveError, UnavailableError
from vna.domain.records import Location
from vna.gateways.dimse.operation import Operation
from vna.peers import commands
from vna.peers.association import MAX_CONTEXTS, Proposal
from vna.peers.destination import Destination
from vna.peers.dimse import StoreAssociation

_MOST_STRIKES = 2


class Receiver(ABC):
    """Where the sub-operations of one request go."""

    dead: str = ""
    """Why nothing more can be sent; empty while it can."""

    @property
    @abstractmethod
    def accepted(self) -> Collection[tuple[str, str]]:
        """SOP classes and transfer syntaxes that are accepted; raises ``UnavailableError``."""

    @abstractmethod
    def store(self, location: Location, syntax: str, data: BinaryIO, length: int) -> int:
        """Send one instance, return the status of the answer; raises ``UnavailableError``."""


class BrokenMessageError(ArchiveError):
    """A data set could not be read to its end while it was being sent to the requestor."""


class Requestor(Receiver):
    """The requestor of a C-GET, which is the storage SCP on its own association (PS3.4 C.5.3)."""

    def __init__(self, operation: Operation, contexts: Mapping[tuple[str, str], int]) -> None:
        self._operation = operation
        self._contexts = contexts
        self._message_id = 0

    @property
    def accepted(self) -> Collection[tuple[str, str]]:
        """Contexts of which the requestor is the SCP."""
        return self._contexts

    def store(self, location: Location, syntax: str, data: BinaryIO, length: int) -> int:
        """Send one instance on the requestor's association; raises ``BrokenMessageError``, ``ChannelClosedError``."""
        operation = self._operation
        self._message_id = self._message_id % 0xFFFF + 1
        request = commands.store_request(
            location.sop_class, location.uids.sop, self._message_id, operation.request.priority
        )
        try:
            operation.channel.send(self._contexts[location.sop_class, syntax], request, data, length)
        except (ArchiveError, EOFError) as error:
            raise BrokenMessageError(f"{location.uids.sop}: {error}") from error
        while True:
            answer = operation.channel.receive().command
            if answer.field != commands.C_STORE_RQ | commands.RESPONSE:
                operation.note(answer)
            elif answer.number(commands.RESPONDED_TO) == self._message_id:
                return answer.number(commands.STATUS)


class Remote(Receiver):
    """The destination of a C-MOVE: associated with when the first instance is due, and again if that breaks."""

    def __init__(
        self, destination: Destination, settings: DimseSettings, proposals: Sequence[Proposal], operation: Operation
    ) -> None:
        self._destination = destination
        self._settings = settings
        self._proposals = proposals
        self._request = operation.request
        self._association: StoreAssociation | None = None
        self._strikes = 0

    @property
    def accepted(self) -> Collection[tuple[str, str]]:
        """Contexts that the destination has accepted; associates if need be."""
        return self._connected().accepted

    def _connected(self) -> StoreAssociation:
        if self._association is None:
            try:
                self._association = StoreAssociation(
                    self._destination,
                    self._settings.ae_title,
                    self._proposals,
                    timeout=self._settings.idle_seconds,
                    connect_timeout=self._settings.artim_seconds,
                )
            except ArchiveError as error:
                self.dead = str(error)
                raise UnavailableError(str(error)) from error
        return self._association

    def store(self, location: Location, syntax: str, data: BinaryIO, length: int) -> int:
        """Send one instance; an association that ends is given up, the next instance opens another."""
        association = self._connected()
        try:
            status = association.store(
                association.accepted[location.sop_class, syntax],
                location.sop_class,
                location.uids.sop,
                data,
                length,
                priority=self._request.priority,
                originator=(self._request.calling, self._request.message_id),
            )
        except ArchiveError as error:
            # The association is gone; one that fails twice on end is not worth a third.
            association.abort()
            self._association = None
            self._strikes += 1
            if self._strikes >= _MOST_STRIKES:
                self.dead = str(error)
            raise UnavailableError(str(error)) from error
        self._strikes = 0
        return status

    def close(self) -> None:
        """Release the association."""
        if self._association is not None:
            self._association.release()
            self._association = None


@dataclass(frozen=True, slots=True)
class _Needed:
    """Presentation contexts of one SOP class: each stored transfer syntax, and the uncompressed to fall back on."""

    sop_class: str
    stored: tuple[str, ...]

    @property
    def proposals(self) -> list[Proposal]:
        fallback = tuple(syntax for syntax in (EXPLICIT_LITTLE, IMPLICIT_LITTLE) if syntax not in self.stored)
        found: list[Proposal] = [(self.sop_class, (syntax,)) for syntax in self.stored]
        return [*found, (self.sop_class, fallback)] if fallback else found


def plan(locations: Sequence[Location]) -> list[tuple[list[Proposal], list[Location]]]:
    """Divide instances among associations of at most 128 presentation contexts each (PS3.8 7.1.1.13)."""
    syntaxes: dict[str, dict[str, None]] = {}
    for location in locations:
        syntaxes.setdefault(location.sop_class, {})[location.transfer_syntax] = None
    groups: list[tuple[list[Proposal], set[str]]] = []
    for sop_class, stored in syntaxes.items():
        proposals = _Needed(sop_class, tuple(stored)).proposals
        if not groups or len(groups[-1][0]) + len(proposals) > MAX_CONTEXTS:
            groups.append(([], set()))
        groups[-1][0].extend(proposals)
        groups[-1][1].add(sop_class)
    if len(groups) == 1:
        return [(groups[0][0], list(locations))]
    return [(proposals, [one for one in locations if one.sop_class in classes]) for proposals, classes in groups]
