"""De-identification of any data set, however its sequences are nested: what is secret comes out nowhere."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pydicom
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.identifying import IDENTIFYING
from vna.deidentify.dataset import Deidentifier
from vna.deidentify.options import Options
from vna.deidentify.profile import Profile
from vna.deidentify.pseudonyms import Pseudonyms
from vna.dicom.dictionary import public_vr
from vna.dicom.write import DataSetWriter, file_meta
from vna.store.folder import FolderStore

_SECRET = "Zaphod"
_SEQUENCES = ("00081140", "52009229", "52009230", "00409096", "00081032", "00540016", "00400260", "00189346")
_PLAIN: dict[str, dict[str, Any]] = {
    "00280010": {"vr": "US", "Value": [512]},
    "00180050": {"vr": "DS", "Value": [1.25]},
    "00080060": {"vr": "CS", "Value": ["MR"]},
    "00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
    "00181210": {"vr": "SH", "Value": ["B30f"]},
}


def _telling(tag: str) -> dict[str, Any]:
    vr = public_vr(int(tag, 16))
    if vr in {"DA", "TM", "DT"}:
        return {"vr": vr, "Value": [{"DA": "19521130", "TM": "195211", "DT": "19521130195211"}[vr]]}
    return {"vr": vr, "Value": [{"Alphabetic": f"Beeblebrox^{_SECRET}"} if vr == "PN" else f"{_SECRET} of it"]}


_TELLING = st.one_of(
    st.sampled_from(sorted(IDENTIFYING)).filter(lambda tag: public_vr(int(tag, 16)) not in {"SQ", "UI"}),
).map(lambda tag: (tag, _telling(tag)))
# A private attribute, one that no dictionary knows, an overlay's, and attributes in a VR that they do not have.
_HIDING = st.sampled_from(
    [
        *(("00091001", "LO"), ("0008FFF1", "LO"), ("60000022", "LO"), ("00280010", "LO"), ("00080060", "LT")),
        *(("00180022", "CS"), ("00280030", "DS"), ("00200013", "IS"), ("00080018", "UI"), ("00181210", "SH")),
        *(("04000561", "LO"), ("00204000", "UT"), ("00189073", "PN"), ("0040A160", "UT"), ("50000020", "CS")),
    ]
).map(
    lambda each: (each[0], {"vr": each[1], "Value": [{"Alphabetic": _SECRET}] if each[1] == "PN" else [_SECRET + " 1"]})
)
_LEAVES = st.one_of(_TELLING, _HIDING, st.sampled_from(sorted(_PLAIN.items())))
_DATASET = st.recursive(
    st.lists(_LEAVES, max_size=6).map(dict),
    lambda inner: st.tuples(
        st.lists(_LEAVES, max_size=4).map(dict),
        st.dictionaries(
            st.sampled_from(_SEQUENCES),
            st.lists(inner, max_size=3).map(lambda items: {"vr": "SQ", "Value": items}),
            max_size=2,
        ),
    ).map(lambda both: {**both[0], **both[1]}),
    max_leaves=12,
)
_STORE = FolderStore(Path(tempfile.mkdtemp(prefix="vna-pseudonyms-")))
_IDENTITY = {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00080016": {"vr": "UI", "Value": ["1.2.4"]}}


@settings(max_examples=150, deadline=None)
@given(_DATASET, st.booleans(), st.booleans())
def test_no_secret_comes_out_of_any_nesting(attributes: dict[str, Any], descriptors: bool, patient: bool) -> None:
    attributes = {**attributes, "00100010": _telling("00100010"), **_IDENTITY}
    attributes.pop("00080018", None)
    before = json.dumps(attributes)
    options = Options(descriptors=descriptors, patient=patient)
    shown = Deidentifier(Profile(options), Pseudonyms(_STORE)).data_set(attributes)
    assert json.dumps(attributes) == before
    text = json.dumps(shown)
    for secret in (_SECRET, "Beeblebrox", "1952"):
        assert secret not in text
    # What is shown can be written, and read by others.
    target = io.BytesIO()
    target.write(file_meta("1.2.4", "1.2.5", "1.2.840.10008.1.2.1"))
    DataSetWriter(target, {}, lambda _offset, _length: ()).write(shown)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pydicom.dcmread(io.BytesIO(target.getvalue()))
        assert _SECRET not in str(found)
    assert found.PatientIdentityRemoved == "YES"
