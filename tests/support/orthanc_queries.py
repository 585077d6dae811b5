"""The questions that the differential test asks both archives."""

# ruff: noqa: RUF001 - names in the scripts that people write them in

from __future__ import annotations

from tests.support.differential import Find, Keys, Qido

STUDY: Keys = {
    "StudyInstanceUID": "",
    "PatientID": "",
    "PatientName": "",
    "PatientBirthDate": "",
    "PatientSex": "",
    "StudyDate": "",
    "StudyTime": "",
    "StudyID": "",
    "StudyDescription": "",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "ModalitiesInStudy": "",
    "NumberOfStudyRelatedSeries": "",
    "NumberOfStudyRelatedInstances": "",
}
SERIES: Keys = {
    "StudyInstanceUID": "",
    "SeriesInstanceUID": "",
    "Modality": "",
    "SeriesNumber": "",
    "SeriesDescription": "",
    "NumberOfSeriesRelatedInstances": "",
    "PerformedProcedureStepStartDate": "",
    "BodyPartExamined": "",
    "ProtocolName": "",
}
IMAGE: Keys = {
    "StudyInstanceUID": "",
    "SeriesInstanceUID": "",
    "SOPInstanceUID": "",
    "SOPClassUID": "",
    "InstanceNumber": "",
    "Rows": "",
    "Columns": "",
    "ImageType": "",
}
PATIENT: Keys = {"PatientID": "", "PatientName": "", "PatientBirthDate": "", "PatientSex": ""}

# Of the files: a study of three series, one of these, an instance of it; and another study.
_UIDS = (
    "1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.1",
    "1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.17",
    "1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.19",
    "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322",
)


def _study(name: str, **keys: object) -> Find:
    return Find(f"study: {name}", "STUDY", {**STUDY, **keys})


def _patient(name: str, **keys: object) -> Find:
    return Find(f"patient: {name}", "PATIENT", {**PATIENT, **keys}, root="patient")


def _series(name: str, *, relational: bool = True, **keys: object) -> Find:
    return Find(f"series: {name}", "SERIES", {**SERIES, **keys}, relational=relational)


def _image(name: str, *, relational: bool = True, **keys: object) -> Find:
    return Find(f"image: {name}", "IMAGE", {**IMAGE, **keys}, relational=relational)


def finds() -> list[Find]:
    """Return the C-FIND requests."""
    study, series, sop, other_study = _UIDS
    return [
        _patient("all"),
        _patient("counts", NumberOfPatientRelatedStudies="", NumberOfPatientRelatedSeries="",
                 NumberOfPatientRelatedInstances=""),
        _patient("one id", PatientID="98890234"),
        _patient("id of another case", PatientID="phasmr6335"),
        _patient("id that another has in capitals", PatientID="1ct1"),
        _patient("ids in either case", PatientID="1?T1"),
        _patient("ids with wild card", PatientID="*MR*"),
        _patient("name", PatientName="Doe^Peter"),
        _patient("name in another case", PatientName="DOE^peter"),
        _patient("family name with wild card", PatientName="Doe^*"),
        _patient("name of content in conflict", PatientName="Conflict^*"),
        _patient("one character", PatientName="?oe^Peter"),
        _patient("birth date", PatientBirthDate="19500112"),
        _patient("birth dates in a range", PatientBirthDate="19400101-19801231"),
        _patient("sex", PatientSex="F"),
        _patient("nobody", PatientID="NO SUCH PATIENT"),
        Find("patient root, studies of a patient", "STUDY", {**STUDY, "PatientID": "98890234"}, root="patient"),
        Find("patient root, series of a study", "SERIES",
             {**SERIES, "PatientID": "98890234", "StudyInstanceUID": study}, root="patient"),
        _study("all"),
        _study("by UID", StudyInstanceUID=study),
        _study("by two UIDs", StudyInstanceUID=f"{study}\\{other_study}"),
        _study("by a UID that nobody has", StudyInstanceUID="1.2.3.4.5.6.7.8.9"),
        _study("one date", StudyDate="20010101"),
        _study("dates in a range", StudyDate="20030101-20041231"),
        _study("dates from", StudyDate="20160101-"),
        _study("dates until", StudyDate="-19991231"),
        _study("one time", StudyTime="120000"),
        _study("one time, less precise", StudyTime="185059"),
        _study("times in a range", StudyTime="100000-120000"),
        _study("times from, with fractions", StudyTime="194000.5-"),
        _study("times until", StudyTime="-0600"),
        _study("date and time", StudyDate="20040826", StudyTime="180000-190000"),
        _study("accession number", AccessionNumber="999887722"),
        _study("accession numbers with wild card", AccessionNumber="1*9"),
        _study("study id", StudyID="1"),
        _study("study ids of two characters", StudyID="??"),
        _study("description", StudyDescription="Brain"),
        _study("description in another case", StudyDescription="BRAIN"),
        _study("descriptions with wild card", StudyDescription="*Brain*"),
        _study("description with a literal bracket", StudyDescription="US CHEST WALL/SOFT TISSUE"),
        _study("referring physician", ReferringPhysicianName="Moriarty^James"),
        _study("referring physicians with wild card", ReferringPhysicianName="*j*"),
        _study("modality in study", ModalitiesInStudy="MR"),
        _study("modality in study, none has", ModalitiesInStudy="XA"),
        _study("modalities in study, two", ModalitiesInStudy="CR\\US"),
        _study("modalities in study with wild card", ModalitiesInStudy="RT*"),
        _study("modality and date", ModalitiesInStudy="CT", StudyDate="20000101-"),
        _study("patient name", PatientName="Doe^Archibald"),
        _study("patient name, given name with wild card", PatientName="*^Archibald"),
        _study("patient name without accents", PatientName="Aneas^Rudiger"),
        _study("patient name with accents", PatientName="Äneas^Rüdiger"),
        _study("patient name with accents and wild card", PatientName="*Jérôme"),
        _study("patient name, cyrillic", PatientName="Люкceмбypг"),
        _study("patient name, cyrillic in another case", PatientName="люкceмбypг"),
        _study("patient name, greek", PatientName="Διονυσιος"),
        _study("patient name, hebrew with wild card", PatientName="שרון*"),
        _study("patient name, ideographic", PatientName="Wang^XiaoDong=王^小东="),
        _study("patient name, ideographic with wild card", PatientName="*=山田*"),
        _study("patient name, alphabetic group of three", PatientName="Yamada^Tarou"),
        _study("patient name, phonetic group alone", PatientName="==やまだ^たろう"),
        _study("patient name, hangul", PatientName="김희중"),
        _study("patient id and date", PatientID="98890234", StudyDate="20030505"),
        _study("series and instances counted", PatientID="98890234"),
        _study("institution, of another level", InstitutionName=""),
        _study("only a star", PatientName="*"),
        _study("SOP classes in study", PatientID="98890234", SOPClassesInStudy=""),
        Find("study: patient's age, weight and history", "STUDY",
             {"StudyInstanceUID": "", "PatientAge": "", "PatientWeight": "", "AdditionalPatientHistory": ""}),
        Find("study: procedure codes", "STUDY", {"StudyInstanceUID": "", "ProcedureCodeSequence":
             {"CodeValue": "", "CodingSchemeDesignator": "", "CodeMeaning": ""}}),
        Find("study: one procedure code", "STUDY",
             {"StudyInstanceUID": "", "ProcedureCodeSequence": {"CodeValue": "RDW"}}),
        _series("of a study", StudyInstanceUID=study, relational=False),
        _series("of a study, one modality", StudyInstanceUID=study, Modality="MR", relational=False),
        _series("by UID", StudyInstanceUID=study, SeriesInstanceUID=series, relational=False),
        _series("without a study, not negotiated", Modality="MR", relational=False),
        _series("all"),
        _series("one modality", Modality="CT"),
        _series("two modalities", Modality="CT\\MR"),
        _series("modalities with wild card", Modality="?R"),
        _series("number", SeriesNumber="1"),
        _series("description with wild card", SeriesDescription="*pilot*"),
        _series("start date in a range", PerformedProcedureStepStartDate="20150101-"),
        _series("body part", BodyPartExamined="CHEST"),
        _series("modality in study", ModalitiesInStudy="US"),
        _series("of a patient", PatientID="98890234", Modality="CT"),
        Find("series: request attributes", "SERIES",
             {"SeriesInstanceUID": "", "RequestAttributesSequence": {"RequestedProcedureID": "",
              "ScheduledProcedureStepID": ""}}, relational=True),
        Find("series: one requested procedure", "SERIES",
             {"SeriesInstanceUID": "", "RequestAttributesSequence": {"RequestedProcedureID": "8000000000330109"}},
             relational=True),
        _image("of a series", StudyInstanceUID=study, SeriesInstanceUID=series, relational=False),
        _image("by UID", StudyInstanceUID=study, SeriesInstanceUID=series, SOPInstanceUID=sop, relational=False),
        _image("by number", StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber="1", relational=False),
        _image("all"),
        _image("one SOP class", SOPClassUID="1.2.840.10008.5.1.4.1.1.7"),
        _image("two SOP classes", SOPClassUID="1.2.840.10008.5.1.4.1.1.2\\1.2.840.10008.5.1.4.1.1.4"),
        _image("rows", Rows=64),
        _image("number", InstanceNumber="1", Modality="CT"),
    ]  # fmt: skip


_STUDY_COMPARE = tuple(STUDY)[1:]
_SERIES_COMPARE = (
    "StudyInstanceUID",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "NumberOfSeriesRelatedInstances",
)
_INSTANCE_COMPARE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "InstanceNumber", "Rows", "Columns")


def _q(path: str, **parameters: str) -> Qido:
    return _named("", path, *((name.replace("__", "."), value) for name, value in parameters.items()))


def _named(name: str, path: str, *parameters: tuple[str, str], page: int = 0) -> Qido:
    *above, leaf = path.split("/")
    compared = {"studies": _STUDY_COMPARE, "series": _SERIES_COMPARE, "instances": _INSTANCE_COMPARE}[leaf]
    asked = [value for key, value in parameters if key == "includefield"]
    extra = [part for value in asked for part in value.split(",") if part.isalpha() and part != "all"]
    given = name or "&".join(f"{key}={value}" for key, value in parameters)
    below = " of a series" if len(above) > 2 else " of a study" if above else ""
    label = f"GET {leaf}{below}: {given or 'all'}"
    # What is no default attribute of a study (PS3.18 table 10.6.3-3) is asked for.
    full = (*parameters, ("includefield", "StudyDescription")) if leaf == "studies" else parameters
    return Qido(label, path, full, tuple(dict.fromkeys((*compared, *extra))), page)


def qidos() -> list[Qido]:
    """Return the QIDO-RS requests."""
    study, series, sop, other_study = _UIDS
    return [
        _q("studies"),
        _named("in pages of 10", "studies", page=10),
        _q("studies", StudyInstanceUID=study),
        _named("two UIDs", "studies", ("StudyInstanceUID", f"{study},{other_study}")),
        _named("hex key", "studies", ("0020000D", study)),
        _q("studies", PatientID="98890234"),
        _named("hex key of the patient", "studies", ("00100020", "98890234")),
        _q("studies", PatientID="NOBODY"),
        _q("studies", PatientID="*MR*"),
        _q("studies", PatientName="Doe^Peter"),
        _q("studies", PatientName="doe^peter"),
        _q("studies", PatientName="Doe*"),
        _q("studies", PatientName="doe", fuzzymatching="true"),
        _q("studies", PatientName="?oe^Peter"),
        _named("escaped star", "studies", ("PatientName", "Doe%2A")),
        _named("escaped circumflex", "studies", ("PatientName", "Doe%5EPeter")),
        _q("studies", PatientName="Äneas*"),
        _q("studies", PatientName="Люкceмбypг"),
        _q("studies", PatientName="*=王^小東*"),
        _q("studies", PatientBirthDate="19500112"),
        _q("studies", PatientSex="M", includefield="PatientAge,PatientWeight"),
        _q("studies", StudyDate="20010101"),
        _q("studies", StudyDate="20030101-20041231"),
        _q("studies", StudyDate="20160101-"),
        _q("studies", StudyDate="-19991231"),
        _q("studies", StudyTime="100000-120000"),
        _q("studies", StudyDate="20030505-20040826", StudyTime="050000-185100"),
        _q("studies", AccessionNumber="999887722"),
        _q("studies", StudyID="1"),
        _q("studies", StudyDescription="*brain*"),
        _q("studies", ReferringPhysicianName="Moriarty^James"),
        _q("studies", ReferringPhysicianName="MORIARTY*"),
        _q("studies", ModalitiesInStudy="MR"),
        _q("studies", ModalitiesInStudy="XA"),
        _q("studies", ModalitiesInStudy="CT", PatientName="Doe*"),
        _q("studies", includefield="all"),
        _q("studies", includefield="00081030"),
        _q("studies", NoSuchAttribute="1"),
        _q("studies", limit="many"),
        _q("series"),
        _named("in pages of 7", "series", page=7),
        _q("series", Modality="MR"),
        _q("series", Modality="CT", PatientID="98890234"),
        _q("series", SeriesNumber="1"),
        _q("series", SeriesDescription="*pilot*"),
        _q("series", ModalitiesInStudy="MR"),
        _q("series", PerformedProcedureStepStartDate="20150101-", includefield="PerformedProcedureStepStartDate"),
        _q("series", includefield="Manufacturer,ProtocolName,BodyPartExamined"),
        _q("series", RequestAttributesSequence__RequestedProcedureID="8000000000330109"),
        _named("hex path", "series", ("00400275.00401001", "8000000000330109")),
        _q(f"studies/{study}/series"),
        _q(f"studies/{study}/series", Modality="MR"),
        _q(f"studies/{study}/series", Modality="XA"),
        _named("of a study that is not there", "studies/1.2.3.4.5/series"),
        _q("instances"),
        _named("in pages of 50", "instances", page=50),
        _q("instances", SOPClassUID="1.2.840.10008.5.1.4.1.1.7"),
        _q("instances", PatientID="98890234", Modality="CT"),
        _q("instances", InstanceNumber="1"),
        _q("instances", Rows="64"),
        _q("instances", includefield="ImageType,PhotometricInterpretation,BitsAllocated"),
        _q("instances", ModalitiesInStudy="RTDOSE"),
        _q(f"studies/{study}/instances"),
        _q(f"studies/{study}/series/{series}/instances"),
        _named("one by UID", f"studies/{study}/series/{series}/instances", ("SOPInstanceUID", sop)),
        _named("hex key and number", f"studies/{study}/series/{series}/instances", ("00200013", "1")),
    ]
