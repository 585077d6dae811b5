"""Identities: of patients, studies, series and instances, and of their bytes.

An instance is identified by its three UIDs together, so that one SOP Instance
UID that a sender put into two studies is two instances and neither hides the
other. Identities are hashes, so that no UID (which a client chooses) is ever a
path, a document id or a part of one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

OBJECT_PREFIX = "instances/"
FACT_PREFIX = "facts/"
# What was found damaged, below its own key.
DAMAGED_PREFIX = "damaged/"
ID_LENGTH = 32


def identity(*parts: str) -> str:
    """Return a 32 hex digit identity of some texts; ``("a", "bc")`` is not ``("ab", "c")``."""
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:ID_LENGTH]


def patient_identity(patient_id: str, issuer: str) -> str:
    """Return the identity of a patient: Patient ID (0010,0020) within its issuer (0010,0021)."""
    return identity("patient", patient_id, issuer)


@dataclass(frozen=True, slots=True)
class InstanceUids:
    """The UIDs that place an instance in the information model (PS3.3 A.1.2)."""

    study: str
    series: str
    sop: str

    @property
    def study_id(self) -> str:
        """Identity of the study."""
        return identity("study", self.study)

    @property
    def series_id(self) -> str:
        """Identity of the series within its study."""
        return identity("series", self.study, self.series)

    @property
    def instance_id(self) -> str:
        """Identity of the instance within its series and study."""
        return identity("instance", self.study, self.series, self.sop)


def study_prefix(study_uid: str) -> str:
    """Return the key prefix below which every object of a study lies."""
    study_id = identity("study", study_uid)
    return f"{OBJECT_PREFIX}{study_id[:2]}/{study_id}/"


def object_key(uids: InstanceUids, digest: str) -> str:
    """Return the key of an instance's bytes.

    Parameters
    ----------
    uids
        The UIDs of the instance.
    digest
        Digest of the content, 64 hex digits.

    Returns
    -------
    str
        ``instances/<2 hex>/<study id>/<series id>/<instance id>-<32 hex of digest>.dcm``.
        Other bytes under the same UIDs get another key, so nothing is overwritten.
    """
    return f"{study_prefix(uids.study)}{uids.series_id}/{uids.instance_id}-{digest[:32]}.dcm"


def metadata_key(key: str) -> str:
    """Return the key of the metadata document that belongs to an instance's key."""
    return key.removesuffix(".dcm") + ".json"


def instance_key(key: str) -> str:
    """Return the key of the instance that a metadata document's key belongs to."""
    return key.removesuffix(".json") + ".dcm"
