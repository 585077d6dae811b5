"""Who asks, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vna.security.limits import NO_LIMITS, Limits


class Role(StrEnum):
    """What somebody does with the archive."""

    VIEWER = "viewer"
    RESEARCHER = "researcher"
    TECHNOLOGIST = "technologist"
    RECORDS_MANAGER = "records-manager"
    ADMINISTRATOR = "administrator"


class Permission(StrEnum):
    """What a request needs."""

    READ = "read"
    """Search and retrieve, with patients' names."""
    READ_DEIDENTIFIED = "read de-identified data"
    """Search and retrieve, with all removed that tells whose it is (:mod:`vna.deidentify`)."""
    STORE = "store"
    """Send instances."""
    DELETE = "delete"
    """Ask for instances to be deleted."""
    OBSERVE = "see the state of the archive"
    """See the state of the archive: operations, metrics, quarantine."""
    WORKLIST = "use work items"
    """Read and change work items (UPS)."""
    OPERATE = "retry or drop what is in quarantine"
    """Change it: retry and drop what is in quarantine."""
    AUDIT = "read the audit trail"
    """See who saw, sent, changed or deleted what."""


_GRANTED: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ, Permission.WORKLIST}),
    Role.RESEARCHER: frozenset({Permission.READ_DEIDENTIFIED}),
    Role.TECHNOLOGIST: frozenset({Permission.READ, Permission.STORE, Permission.OBSERVE, Permission.WORKLIST}),
    Role.RECORDS_MANAGER: frozenset({Permission.READ, Permission.DELETE, Permission.OBSERVE, Permission.AUDIT}),
    Role.ADMINISTRATOR: frozenset(Permission),
}


_WITHIN_LIMITS = frozenset({Permission.READ, Permission.READ_DEIDENTIFIED, Permission.STORE, Permission.DELETE})
"""What somebody with limits may at most: all else is of the archive as a whole."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The resources that a link opens.

    Attributes
    ----------
    study
        Study Instance UID.
    pictures_only
        Whether they see pictures and nothing that names the patient.
    """

    study: str
    pictures_only: bool = False


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody, or a machine, whose credentials were found right.

    Attributes
    ----------
    name
        Name of the user or of the API key.
    role
        What they do.
    means
        How they showed who they are: ``password``, ``session``, ``key``, ``token`` of an
        identity provider, ``share`` for a link, or ``network`` for one who is trusted
        because of where the request came from.
    must_change_password
        Whether they may do nothing before they have chosen a password.
    scope
        The resources they are limited to, ``None`` if to none.
    limits
        What an instance must have to be there for them at all.
    """

    name: str
    role: Role
    means: str
    must_change_password: bool = False
    scope: Scope | None = None
    limits: Limits = NO_LIMITS

    def may(self, permission: Permission) -> bool:
        """Say whether they may do what needs a permission."""
        if self.must_change_password or (self.limits and permission not in _WITHIN_LIMITS):
            return False
        return permission in _GRANTED[self.role]


def roles_with(permission: Permission) -> list[Role]:
    """Return the roles that have a permission."""
    return [role for role, granted in _GRANTED.items() if permission in granted]
