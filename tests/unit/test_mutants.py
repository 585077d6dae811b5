"""The list of faults that are put into the source on purpose stays true to the source."""

from __future__ import annotations

import pytest

from tests.faults.mutants import MUTANTS, Mutant
from tests.support.worker import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_place_is_there_once(mutant: Mutant) -> None:
    source = (ROOT / mutant.file).read_text()
    assert source.count(mutant.old) == 1
    compile(source.replace(mutant.old, mutant.new), mutant.file, "exec")
