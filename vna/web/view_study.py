"""Studies, series and patients as the pages show them."""

from __future__ import annotations

from dataclasses import dataclass

from vna.domain.query import Hit
from vna.domain.records import Attributes
from vna.web import view_text as text

PATIENT_NAME, PATIENT_ID, ISSUER = "00100010", "00100020", "00100021"
STUDY_UID, SERIES_UID, SOP_UID = "0020000D", "0020000E", "00080018"
STUDY_DATE, STUDY_TIME = "00080020", "00080030"
MODALITIES = "00080061"
NO_NAME = "no name"


@dataclass(frozen=True, slots=True)
class Patient:
    """Who a study is of: a Patient ID within its issuer."""

    name: str
    id: str
    issuer: str
    birth: str
    sex: str

    @classmethod
    def of(cls, attributes: Attributes) -> Patient:
        """Return the patient that some attributes name."""
        return cls(
            text.name(text.first(attributes, PATIENT_NAME)) or NO_NAME,
            text.first(attributes, PATIENT_ID),
            text.first(attributes, ISSUER),
            text.date(text.first(attributes, "00100030")),
            text.first(attributes, "00100040"),
        )

    @property
    def url(self) -> str:
        """Where the patient's timeline is. In the query, since an ID may be ``..`` or have slashes."""
        return "/ui/patients?" + text.query(id=self.id, issuer=self.issuer)


@dataclass(frozen=True, slots=True)
class Study:
    """A line of the worklist."""

    uid: str
    patient: Patient
    date: str
    time: str
    description: str
    modalities: tuple[str, ...]
    series: int
    instances: int
    accession: str
    referrer: str
    study_id: str

    @classmethod
    def of(cls, hit: Hit) -> Study:
        """Return the study of a hit."""
        known = hit.attributes
        return cls(
            uid=text.first(known, STUDY_UID),
            patient=Patient.of(known),
            date=text.date(text.first(known, STUDY_DATE)),
            time=text.time(text.first(known, STUDY_TIME)),
            description=text.first(known, "00081030"),
            modalities=tuple(text.several(known, MODALITIES)),
            series=text.number(known, "00201206"),
            instances=text.number(known, "00201208"),
            accession=text.first(known, "00080050"),
            referrer=text.name(text.first(known, "00080090")),
            study_id=text.first(known, "00200010"),
        )

    @property
    def url(self) -> str:
        """Where the study's page is."""
        return f"/ui/studies/{text.segment(self.uid)}"

    @property
    def viewer(self) -> str:
        """Where the built-in viewer shows it."""
        return "/ui/viewer?" + text.query(study=self.uid)

    @property
    def ohif(self) -> str:
        """Where OHIF shows it."""
        return "/ohif/viewer?" + text.query(StudyInstanceUIDs=self.uid)

    @property
    def dicomweb(self) -> str:
        """Its DICOMweb resource."""
        return f"/dicom-web/studies/{text.segment(self.uid)}"


@dataclass(frozen=True, slots=True)
class Series:
    """A series of a study's page."""

    uid: str
    number: str
    modality: str
    description: str
    body_part: str
    date: str
    time: str
    manufacturer: str
    model: str
    institution: str
    station: str
    protocol: str
    instances: int
    study: Study

    @classmethod
    def of(cls, hit: Hit, study: Study) -> Series:
        """Return the series of a hit."""
        known = hit.attributes
        return cls(
            uid=text.first(known, SERIES_UID),
            number=text.first(known, "00200011"),
            modality=text.first(known, "00080060"),
            description=text.first(known, "0008103E"),
            body_part=text.first(known, "00180015"),
            date=text.date(text.first(known, "00080021")),
            time=text.time(text.first(known, "00080031")),
            manufacturer=text.first(known, "00080070"),
            model=text.first(known, "00081090"),
            institution=text.first(known, "00080080"),
            station=text.first(known, "00081010"),
            protocol=text.first(known, "00181030"),
            instances=text.number(known, "00201209"),
            study=study,
        )

    @property
    def thumbnail(self) -> str:
        """A small picture of it."""
        return f"{self.study.dicomweb}/series/{text.segment(self.uid)}/thumbnail"

    @property
    def viewer(self) -> str:
        """Where the built-in viewer shows it."""
        return f"{self.study.viewer}&{text.query(series=self.uid)}"

    @property
    def metadata(self) -> str:
        """Where the attributes of its instances are."""
        return f"/ui/instances/{text.segment(self.study.uid)}/{text.segment(self.uid)}"
