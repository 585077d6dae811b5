"""The same real files in this archive and in Orthanc answer the same queries alike.

Each difference is explained in docs/differences-from-orthanc.md, in a section
that is named here; one that is explained there and no longer occurs fails too.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.support.archive import running_archive
from tests.support.differential import Difference, Find, Qido, Server, compare
from tests.support.orthanc import running_orthanc
from tests.support.orthanc_queries import finds, qidos
from tests.support.real_files import real_file, real_files
from tests.support.sending import dcmsend

PAGE = Path(__file__).parents[2] / "docs" / "differences-from-orthanc.md"
QUERIES: tuple[Find | Qido, ...] = (*finds(), *qidos())
STORE = "C-STORE"

# One study and series under which two patients stand, 1234 and one without an ID: to this archive it belongs to the
# one that came first, and has one time; to Orthanc there are two, each with its own.
_MIXED = {
    "1.3.12.2.1107.5.2.32.35119.30000010011408520750000000022",
    "1.3.12.2.1107.5.2.32.35119.2010011420292594820699190.0.0.0",
}


@dataclass(frozen=True, slots=True)
class Both:
    """Both archives with the same files, and how they took these."""

    ours: Server
    theirs: Server
    kept: set[str]
    taking_in: list[Difference]


def _unlike(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the real files of distinct SOP Instance UIDs, and some made from them that come later.

    These are other content under the UIDs of a file, and a patient whose ID is
    that of another one but for its case.
    """
    first: dict[str, Path] = {}
    for path in real_files():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            uid = str(dcmread(path, force=True, specific_tags=["SOPInstanceUID"]).get("SOPInstanceUID", ""))
        if uid and path.read_bytes()[128:132] == b"DICM":
            first.setdefault(uid, path)
    folder.mkdir()
    ds = dcmread(real_file("CT_small.dcm"))
    ds.PatientName = "Conflict^Content"
    ds.save_as(folder / "conflict.dcm")
    ds.PatientName = "Lower^Case"
    ds.PatientID = ds.PatientID.lower()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(ds, keyword, generate_uid(entropy_srcs=[keyword]))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(folder / "case.dcm")
    return list(first.values()), [folder / "conflict.dcm", folder / "case.dcm"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both")
    files, later = _unlike(folder / "made")
    with running_orthanc(folder / "orthanc") as orthanc, running_archive(folder / "data") as archive:
        for paths in (files, later):
            for port in (orthanc.dimse_port, archive.dimse_port):
                assert "with status SUCCESS" in dcmsend(port, paths)
            archive.wait_idle()
        theirs = {
            each["MainDicomTags"]["SOPInstanceUID"] for each in orthanc.rest("instances?expand&since=0&limit=5000")
        }
        ours = {each["00080018"]["Value"][0] for each in archive.qido("instances", limit="5000")}
        waiting = {str(each["meta"]["sop_instance"]) for each in archive.quarantined()}
        taking_in = [Difference(STORE, "quarantined", uid) for uid in sorted(waiting - theirs)]
        taking_in += [Difference(STORE, "only ours", uid) for uid in sorted(ours - theirs)]
        taking_in += [Difference(STORE, "only theirs", uid) for uid in sorted(theirs - ours)]
        yield Both(
            Server(archive.dimse_port, "VNA", archive.web),
            Server(orthanc.dimse_port, "ORTHANC", orthanc.web),
            ours & theirs,
            taking_in,
        )


@pytest.fixture(scope="module")
def found(both: Both) -> dict[str, list[Difference]]:
    """Every difference, by the name of the query."""
    return {STORE: both.taking_in} | {
        query.name: compare(query.name, query.ask(both.ours), query.ask(both.theirs)) for query in QUERIES
    }


def _mixed_study(it: Difference) -> bool:
    if it.entity in _MIXED:
        return it.kind in {"twice", "only theirs", "StudyTime"} or it.kind.startswith(("Patient", "Number"))
    if it.query.startswith("patient: "):
        return it.entity in {"1234", ""} and (it.kind == "only theirs" or it.kind.startswith("NumberOfPatientRelated"))
    return False


def _old_format(it: Difference) -> bool:
    return it.kind.endswith(("Date", "Time")) and it.ours == it.theirs.replace(":", "").replace(
        "." if it.kind.endswith("Date") else ":", ""
    )


def _without(keyword: str, *marks: str) -> Callable[[Difference], bool]:
    """Return whether Orthanc alone finds an entity that has no value at the key, by a query with a mark in its name."""
    return lambda it: (
        it.kind == "only theirs" and not it.values.get(keyword, "") and any(mark in it.query for mark in marks)
    )


def _only(which: str, *marks: str) -> Callable[[Difference], bool]:
    return lambda it: it.kind == f"only {which}" and any(mark in it.query for mark in marks)


EXPLAINED: dict[str, tuple[Callable[[Difference], bool], ...]] = {
    "taking-in": (lambda it: it.query == STORE and it.kind == "quarantined",),
    "one-patient-of-a-study": (_mixed_study,),
    "illegal-values": (lambda it: it.kind == "PatientBirthDate" and (it.ours, it.theirs) == ("", "1990/01/"),),
    "old-dates-and-times": (_old_format,),
    "japanese-texts": (
        lambda it: it.kind == "PatientName" and "山田" in it.ours and ";3ED" in it.theirs,
        lambda it: it.kind == "ImageType" and "¥" in it.theirs and it.ours == re.sub("Â?¥", r"\\", it.theirs),
    ),
    "open-ranges": (_without("StudyDate", "dates until", "StudyDate=-"), _without("StudyTime", "times until")),
    "equal-values": (_only("ours", "study: one time", "InstanceNumber=1"),),
    "accents": (_only("ours", "without accents"),),
    "component-groups": (_only("ours", "ideographic", "phonetic", "alphabetic group of three"),),
    "keys-of-lower-levels": (
        lambda it: "of another level" in it.query and it.kind in {"status", "InstitutionName"},
        lambda it: it.query == "series: modality in study" and it.kind in {"status", "only ours"},
    ),
    "star": (lambda it: it.query == "study: only a star" and it.kind == "only ours" and not it.values["PatientName"],),
    "sequences": (_only("theirs", "procedure code", "requested procedure", "RequestedProcedureID", "hex path"),),
    "hierarchical-queries": (
        lambda it: "not negotiated" in it.query and it.kind in {"status", "only theirs"},
        lambda it: "not negotiated" in it.query and it.kind == "twice",
    ),
    "nothing-found": (lambda it: it.kind == "status" and (it.ours, it.theirs) == ("204", "200"),),
    "escapes": (
        _only("ours", "escaped"),
        lambda it: it.query.startswith("GET") and not it.query.isascii() and it.kind == "only ours",
    ),
    "case": (_only("theirs", "GET studies: StudyDescription=", "GET series: SeriesDescription="),),
    "fuzzy-names": (_only("ours", "fuzzymatching=true"),),
    "unknown-attributes": (lambda it: "NoSuchAttribute" in it.query,),
    "modalities-below-a-study": (
        lambda it: (
            it.query.startswith(("GET series", "GET instances"))
            and "ModalitiesInStudy" in it.query
            and it.kind == "only ours"
        ),
    ),
}
"""What explains a difference, by the anchor of its section."""


def _explains(difference: Difference) -> set[str]:
    return {anchor for anchor, rules in EXPLAINED.items() if any(rule(difference) for rule in rules)}


@pytest.mark.parametrize("name", [STORE, *(query.name for query in QUERIES)])
def test_every_difference_is_explained(found: dict[str, list[Difference]], name: str) -> None:
    assert [each for each in found[name] if not _explains(each)] == []


def test_every_explanation_is_needed_and_written_down(found: dict[str, list[Difference]]) -> None:
    used = {anchor for each in found.values() for difference in each for anchor in _explains(difference)}
    written = re.findall(r'^## .*<a id="([a-z-]+)"></a>$', PAGE.read_text(), re.MULTILINE)
    assert sorted(used) == sorted(EXPLAINED) == sorted(written)


def test_every_rule_explains_something(found: dict[str, list[Difference]]) -> None:
    everything = [difference for each in found.values() for difference in each]
    idle = [anchor for anchor, rules in EXPLAINED.items() for rule in rules if not any(map(rule, everything))]
    assert idle == []


def test_both_hold_the_same_instances_and_most_answers_are_equal(
    both: Both, found: dict[str, list[Difference]]
) -> None:
    assert len(both.kept) > 170
    assert len({query.name for query in QUERIES}) == len(QUERIES)
    assert sum(not each for each in found.values()) > len(QUERIES) / 2
