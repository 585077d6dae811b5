"""Names within texts that are kept: in scripts without blanks, short ones, and within other words."""

from __future__ import annotations

import pytest

from vna.deidentify.dataset import Deidentifier
from vna.deidentify.options import Options
from vna.deidentify.profile import Profile
from vna.deidentify.pseudonyms import Pseudonyms
from vna.store.folder import FolderStore


@pytest.fixture(scope="module")
def deidentifier(tmp_path_factory: pytest.TempPathFactory) -> Deidentifier:
    store = FolderStore(tmp_path_factory.mktemp("naming"))
    return Deidentifier(Profile(Options(descriptors=True)), Pseudonyms(store))


@pytest.mark.parametrize(
    ("name", "text", "stays"),
    [
        ({"Alphabetic": "Zebra^Quentin"}, "ZebraQuentin CT", False),
        ({"Alphabetic": "Zebra^Quentin"}, "head of JZEBRA", False),
        ({"Alphabetic": "Zebra^Quentin"}, "CT head", True),
        ({"Alphabetic": "Wang^Xiaodong", "Ideographic": "王^小東"}, "王小東 胸部", False),
        ({"Alphabetic": "Wang^Xiaodong", "Ideographic": "王^小東"}, "患者小東", False),
        ({"Alphabetic": "Wang^Xiaodong", "Ideographic": "王^小東"}, "胸部 CT", True),
        ({"Alphabetic": "Yamada^Tarou", "Phonetic": "やまだ^たろう"}, "ﾀﾛｳ やまだ", False),
        ({"Alphabetic": "Hong^Gildong", "Ideographic": "洪^吉洞", "Phonetic": "홍^길동"}, "홍길동 흉부", False),
        ({"Alphabetic": "Li^Bo"}, "CT of Li Bo", False),
        ({"Alphabetic": "Smith^John^^MR"}, "MR of the knee", True),
        ({"Alphabetic": "Smith^John"}, "for 00987654321", False),
    ],
)
def test_a_text_that_names_the_patient_goes(
    deidentifier: Deidentifier, name: dict[str, str], text: str, *, stays: bool
) -> None:
    data_set = {
        "00081030": {"vr": "LO", "Value": [text]},
        "00100010": {"vr": "PN", "Value": [name]},
        "00100020": {"vr": "LO", "Value": ["987654321"]},
        "00180020": {"vr": "CS", "Value": ["LI"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    }
    made = deidentifier.data_set(data_set)
    assert ("00081030" in made) is stays
    # A code of two letters is hardly a name.
    assert "00180020" in made


def test_a_name_within_a_sequence_that_is_kept_is_one(deidentifier: Deidentifier) -> None:
    names = {"00081010": {"vr": "SH"}, "00321032": {"vr": "PN", "Value": [{"Alphabetic": "Okapi^Ottilie"}]}}
    data_set = {
        "00081030": {"vr": "LO", "Value": ["sent by Ottilie"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "0040A370": {"vr": "SQ", "Value": [names]},
    }
    assert "00081030" not in deidentifier.data_set(data_set)
