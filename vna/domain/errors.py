"""The errors of the archive.

::

    ArchiveError
    ├── ConfigurationError        a setting is missing or wrong; the message names it
    ├── InvalidInputError         what a client sent cannot be accepted, now or later
    │   ├── UnparsableError       not DICOM, or broken beyond what the archive survives
    │   ├── InvalidQueryError     a query names or shapes something that cannot be matched
    │   └── TooLargeError         over a configured limit
    ├── NotFoundError             nothing answers to that name
    ├── WithheldError             there is something, which must not be shown to the one who asks
    ├── ConflictError             compare-and-set lost, or an object under hold
    ├── UnsupportedError          the adapter or the archive does not do that
    ├── IntegrityError            stored bytes are not the bytes that were acknowledged
    │   └── NewerVersionError     a newer version of the archive wrote it
    ├── OutOfResourcesError       no disk, or a limit of the machine; the sender may try again
    └── UnavailableError          a service is down, slow or refusing; try again later

``error.retry`` says whether the same call may succeed later without anybody
changing anything. Gateways map this tree to DIMSE statuses (PS3.4 B.2.3, C.4)
and HTTP statuses (PS3.18 8.2) in one place each.
"""

from __future__ import annotations


class ArchiveError(Exception):
    """Base of every error that the archive raises on purpose."""

    retry: bool = False


class ConfigurationError(ArchiveError):
    """A setting is missing or wrong. The message names the setting."""


class InvalidInputError(ArchiveError):
    """A client sent something that cannot be accepted, now or later."""


class UnparsableError(InvalidInputError):
    """The bytes are not DICOM, or are broken beyond what the archive survives."""


class InvalidQueryError(InvalidInputError):
    """A query names an attribute, or has a value, that cannot be matched."""

    def __init__(self, message: str, *, attribute: str | None = None) -> None:
        super().__init__(message)
        self.attribute = attribute


class TooLargeError(InvalidInputError):
    """Something is over a configured limit."""


class NotFoundError(ArchiveError):
    """Nothing answers to that name."""


class WithheldError(ArchiveError):
    """What is asked for must not be shown to the one who asks. The message says why, and nothing of the content."""


class ConflictError(ArchiveError):
    """A compare-and-set lost, or the object is under hold or retention."""


class UnsupportedError(ArchiveError):
    """The adapter, or the archive, does not do that."""


class IntegrityError(ArchiveError):
    """Stored bytes are not the bytes that were acknowledged."""


class NewerVersionError(IntegrityError):
    """A newer version of the archive wrote it, in a way that this one does not know. Nothing is wrong with it."""


class OutOfResourcesError(ArchiveError):
    """No disk space, or a limit of the machine. The sender may try again."""

    retry = True


class UnavailableError(ArchiveError):
    """A service is down, slow or refusing. Try again later."""

    retry = True
