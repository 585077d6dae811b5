"""What is common to all services, as a checklist of PS3.18 8.2, 8.5, 8.9 and Annex H; and deletion."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from pydicom.uid import generate_uid

from tests.conformance.samples import BY_LABEL, NOWHERE, file_of, uid_of
from tests.conformance.support import DICOM, JSON, Checklist, Server, related, results, values

service = Checklist("8 Service: resources, status codes, capabilities, deletion")

CT = BY_LABEL["A1.2"]
WADL, PLAIN_JSON = "application/vnd.sun.wadl+xml", "application/json"
SPACE = "{http://wadl.dev.java.net/2009/02}"


@service.that("8.2")
def resources_lie_below_one_base(server: Server) -> None:
    found = results(server.get("/instances", {"SOPInstanceUID": uid_of("A1.2")}))
    assert server.get(values(found[0], "00081190")[0], accept=related(DICOM)).status_code == 200


@service.that("8.2")
def a_path_that_is_no_resource_is_404(server: Server) -> None:
    assert server.get("/studios").status_code == 404
    assert server.get(f"{CT.study}/pictures").status_code == 404


@service.that("8.2")
def paths_are_case_sensitive(server: Server) -> None:
    assert server.get(CT.study.replace("studies", "Studies"), accept=related(DICOM)).status_code == 404


@service.that("8.5")
def a_method_that_a_resource_has_not_is_405_with_those_it_has(server: Server) -> None:
    answer = server.ask("PUT", "/studies")
    assert answer.status_code == 405
    assert {"GET", "POST"} <= {each.strip() for each in answer.headers["allow"].split(",")}


@service.that("8.5")
def wrong_credentials_are_401_with_a_challenge(server: Server) -> None:
    answer = server.get("/studies", Authorization="Bearer of-nobody")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"]


@service.that("8.5")
def an_error_tells_what_is_wrong(server: Server) -> None:
    for answer in (server.get(f"/studies/{NOWHERE}/metadata"), server.get("/studies", {"limit": "many"})):
        assert answer.status_code >= 400
        assert answer.headers["content-type"]
        assert len(answer.text) > 10


@service.that("8.9")
def capabilities_of_the_service_as_wadl(server: Server) -> None:
    answer = server.ask("OPTIONS", "/", accept=WADL)
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == WADL
    assert ET.fromstring(answer.content).tag == f"{SPACE}application"


@service.that("8.9.4")
def capabilities_as_json(server: Server) -> None:
    answer = server.ask("OPTIONS", "/", accept=PLAIN_JSON)
    assert answer.headers["content-type"].partition(";")[0] == PLAIN_JSON
    assert answer.json()["application"]["resources"]


@service.that("H.2")
def capabilities_name_base_resources_and_methods(server: Server) -> None:
    root = ET.fromstring(server.ask("OPTIONS", "/", accept=WADL).content)
    resources = root.find(f"{SPACE}resources")
    assert resources is not None
    assert resources.attrib["base"].rstrip("/") == server.base
    studies = next(each for each in resources.iter(f"{SPACE}resource") if each.attrib["path"].strip("/") == "studies")
    assert {each.attrib["name"] for each in studies.findall(f"{SPACE}method")} >= {"GET", "POST"}


@service.that("H.2")
def capabilities_name_query_parameters_and_media_types(server: Server) -> None:
    root = ET.fromstring(server.ask("OPTIONS", "/studies", accept=WADL).content)
    names = {each.attrib["name"] for each in root.iter(f"{SPACE}param")}
    assert {"PatientID", "StudyDate", "limit", "offset", "includefield", "fuzzymatching"} <= names
    assert JSON in {each.attrib.get("mediaType") for each in root.iter(f"{SPACE}representation")}


@service.that("8.3")
def capabilities_name_the_parameters_of_rendered_resources(server: Server) -> None:
    root = ET.fromstring(server.ask("OPTIONS", f"{CT.url}/rendered", accept=WADL).content)
    names = {each.attrib["name"] for each in root.iter(f"{SPACE}param")}
    assert {"window", "viewport", "quality", "annotation", "iccprofile", "accept", "charset"} <= names
    media = {each.attrib.get("mediaType") for each in root.iter(f"{SPACE}representation")}
    assert {"image/jpeg", "image/png", "image/gif", "text/html"} <= media


@service.that("8.9.1")
def capabilities_in_another_form_are_406(server: Server) -> None:
    assert server.ask("OPTIONS", "/", accept="image/jpeg").status_code == 406


def _stored(server: Server) -> str:
    """Store an instance of a study of its own; return the path of the study."""
    data_set = BY_LABEL["A2.1"].copy()
    data_set.PatientID = "DELETED"
    data_set.StudyInstanceUID, data_set.SOPInstanceUID = generate_uid(), generate_uid()
    assert server.files(file_of(data_set)).status_code == 200
    server.settle()
    return f"/studies/{data_set.StudyInstanceUID}"


@service.that("RFC 9110 9.3.5")
def a_deletion_is_200_202_or_204(server: Server) -> None:
    assert server.ask("DELETE", _stored(server)).status_code in {200, 202, 204}


@service.that("RFC 9110 9.3.5")
def a_deletion_of_what_is_not_there_is_404(server: Server) -> None:
    assert server.ask("DELETE", f"/studies/{NOWHERE}").status_code == 404


@service.that("11.3")
def there_is_a_worklist(server: Server) -> None:
    assert server.get("/workitems").status_code in {200, 204}


@service.that("8.4.2")
def answers_tell_the_location_of_what_they_hold(server: Server) -> None:
    for path, accept in (
        (CT.series, related(DICOM)),
        (f"{CT.url}/metadata", JSON),
        (f"{CT.url}/rendered", "image/jpeg"),
    ):
        assert server.get(path, accept=accept).headers["content-location"] == f"{server.base}{path}"


@service.that("8.4.2")
def answers_tell_their_media_type(server: Server) -> None:
    for path, accept in (("/studies", JSON), (CT.series, related(DICOM)), (f"{CT.url}/metadata", JSON)):
        assert server.get(path, accept=accept).headers["content-type"].startswith(accept.partition(";")[0])


test_this_archive, test_orthanc = service.tests()
