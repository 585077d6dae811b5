"""Storage and verification at a remote application entity: an association as SCU (PS3.4 A, B, PS3.7 9.1.1, 9.1.5).

A plain blocking loop: a data set goes out as it is stored, from a stream, in
fragments of the length that the peer announced.
"""

from __future__ import annotations

from typing import BinaryIO

from vna.domain.errors import UnavailableError
from vna.peers import commands
from vna.peers.association import Association

VERIFICATION = "1.2.840.10008.1.1"


class StoreAssociation(Association):
    """An association as SCU of storage, and of verification."""

    def store(
        self,
        context_id: int,
        sop_class: str,
        sop_instance: str,
        data: BinaryIO,
        length: int,
        *,
        priority: int = 0,
        originator: tuple[str, int] | None = None,
    ) -> int:
        """Send one instance and return the status of the answer (PS3.4 B.2.3).

        Parameters
        ----------
        context_id
            One of :attr:`accepted`.
        sop_class, sop_instance
            Of the instance.
        data, length
            The data set, without File Meta Information, in the context's
            transfer syntax: a stream where it begins, and its length.
        priority
            Priority (0000,0700).
        originator
            AE title and message ID of the C-MOVE-RQ that caused this.

        Raises
        ------
        UnavailableError
            The association is over.
        """
        request = commands.store_request(sop_class, sop_instance, self.next_id(), priority, originator)
        return self.exchange(context_id, commands.C_STORE_RQ, request, data, length)

    def echo(self) -> int:
        """Send a C-ECHO and return the status of the answer (PS3.4 A.4).

        Raises
        ------
        UnavailableError
            The association is over, or verification was not accepted.
        """
        context_id = next((number for (uid, _), number in self.accepted.items() if uid == VERIFICATION), None)
        if context_id is None:
            self.release()
            raise UnavailableError(f"{self._name} does not accept the verification service")
        return self.exchange(context_id, commands.C_ECHO_RQ, commands.echo_request(self.next_id()))
