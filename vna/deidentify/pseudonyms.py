"""Pseudonyms of patients: the same for all that is of one patient, and nothing that leads back to them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from functools import cached_property

from vna.domain.identity import patient_identity
from vna.domain.records import Attributes
from vna.normalise.pipeline import normalise
from vna.ports.objects import ObjectStore

_SECRET = "security/pseudonym-secret"  # noqa: S105 - a key in the object store
_PATIENT_ID, _ISSUER, _STUDY = "00100020", "00100021", "0020000D"


class Pseudonyms:
    """Makes pseudonyms with a secret of the archive.

    Parameters
    ----------
    objects
        Where the secret is kept, so that every process makes the same.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    @cached_property
    def _secret(self) -> bytes:
        self._objects.put(_SECRET, secrets.token_bytes(32))
        return self._objects.get(_SECRET)

    def of(self, attributes: Attributes) -> str:
        """Return the pseudonym of a data set's patient, by issuer and Patient ID; of its study where there is no ID."""
        known = normalise({tag: attributes[tag] for tag in (_PATIENT_ID, _ISSUER, _STUDY) if tag in attributes})
        patient, issuer, study = (_text(known.attributes, tag) for tag in (_PATIENT_ID, _ISSUER, _STUDY))
        return self.of_patient(patient, issuer) if patient else self.of_study(study)

    def of_patient(self, patient_id: str, issuer: str) -> str:
        """Return the pseudonym of a patient, by canonical texts."""
        return self._made(f"patient {patient_identity(patient_id, issuer)}")

    def of_study(self, study: str) -> str:
        """Return the pseudonym of whoever a study without a Patient ID is of."""
        return self._made(f"patient of study {study}")

    def _made(self, text: str) -> str:
        return f"P-{base64.b32encode(self._keyed(text)[:10]).decode()}"

    def digest(self, digest: str, how: str) -> str:
        """Return what stands for the digest of a content that somebody sees otherwise than it is, 64 hex digits."""
        return self._keyed(f"digest {digest} {how}").hex()

    def _keyed(self, text: str) -> bytes:
        return hmac.new(self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def _text(attributes: Attributes, tag: str) -> str:
    values = attributes.get(tag, {}).get("Value") or [None]
    return "" if values[0] is None else str(values[0])
