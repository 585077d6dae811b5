"""What somebody's reading is limited to: attributes that an instance must have, ``Keyword=value``.

Several values of one attribute are alternatives, several attributes must all
hold. Values are compared as the index compares them: what is given here goes
the same way as what is received.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vna.domain.errors import InvalidInputError
from vna.domain.levels import LEVEL_OF, VR_OF, visible_at
from vna.domain.limits import COMBINED
from vna.domain.query import AnyOf, Criterion, Level, SomeInstance

STUDY_UID = "0020000D"
MOST_VALUES = 100
"""Values of one attribute."""

_OF_A_WHOLE_STUDY = frozenset({"00080061", "00080062"})  # ModalitiesInStudy, SOPClassesInStudy: of no instance
_EXAMPLE = "InstitutionalDepartmentName=Cardiology"

# The dictionary takes a third of a second to load: only who has limits needs it.
Rule = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Rules that an instance must meet to be there at all; none of them is no limit.

    Attributes
    ----------
    rules
        For each path its canonical values, in order. The empty value is met by an instance that has none.
    """

    rules: tuple[Rule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rules)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Limits:
        """Read limits as a person writes them; raises ``InvalidInputError`` that says what is wrong."""
        found: dict[str, dict[str, None]] = {}
        for text in texts:
            keyword, equals, value = text.partition("=")
            if not equals:
                raise InvalidInputError(f"a limit is written as {_EXAMPLE}, not {text[:80]!r}")
            path = _path(keyword.strip())
            values = found.setdefault(path, {})
            values[_canonical(path, value.strip())] = None
            if len(values) > MOST_VALUES:
                raise InvalidInputError(f"{keyword.strip()} is limited to at most {MOST_VALUES} values")
        return cls(tuple((path, tuple(sorted(values))) for path, values in sorted(found.items())))

    @property
    def texts(self) -> tuple[str, ...]:
        """As a person writes them; :meth:`parse` reads them again."""
        from vna.dicom.dictionary import keyword_of

        return tuple(f"{keyword_of(int(path, 16))}={value}" for path, values in self.rules for value in values)

    def to_study(self, study: str) -> Limits:
        """Return these limits, and to one study."""
        rules = dict(self.rules)
        allowed = rules.get(STUDY_UID, (study,))
        rules[STUDY_UID] = (study,) if study in allowed else ()
        return Limits(tuple(sorted(rules.items())))

    def joined(self, other: Limits) -> Limits:
        """Return limits that let see what either of two does.

        Raises ``InvalidInputError`` where rules cannot say that: two that limit
        by different attributes, or by several.
        """
        if self == other:
            return self
        if len(self.rules) == len(other.rules) == 1 and self.rules[0][0] == other.rules[0][0]:
            (path, mine), (_, theirs) = self.rules[0], other.rules[0]
            return Limits(((path, tuple(sorted({*mine, *theirs}))),))
        one, two = (" and ".join(each.texts) for each in (self, other))
        raise InvalidInputError(f"limits to {one} and to {two} cannot be joined")

    @property
    def of_whole_studies(self) -> bool:
        """Whether a study is there whole or not at all."""
        return all(path == STUDY_UID for path, _ in self.rules)

    @property
    def combined(self) -> tuple[Rule, ...]:
        """The rules that one and the same instance must meet, as the index can tell of a whole study."""
        return tuple(rule for rule in self.rules if rule[0] in COMBINED)

    def criteria(self, level: Level) -> tuple[Criterion, ...]:
        """Return what finds the entities of a level that are there: by their own attributes, or those of a part."""
        own = tuple(AnyOf(path, values) for path, values in self.rules if visible_at(path, level))
        if len(own) == len(self.rules):
            return own
        # An attribute of the study tells nothing of patients: none is there.
        untold = [path for path, _ in self.rules if not visible_at(path, level) and path not in COMBINED]
        return (*own, *(AnyOf(path, ()) for path in untold), SomeInstance(self.combined))


NO_LIMITS = Limits()


def _path(keyword: str) -> str:
    from vna.dicom.dictionary import keyword_of, tag_of

    tag = tag_of(keyword)
    path = f"{tag:08X}" if tag is not None else ""
    of_study = LEVEL_OF.get(path) in {Level.PATIENT, Level.STUDY} and VR_OF.get(path) != "SQ"
    if path in _OF_A_WHOLE_STUDY or not (of_study or (path in COMBINED and path in LEVEL_OF)):
        of_series = ", ".join(keyword_of(int(each, 16)) for each in COMBINED if LEVEL_OF.get(each) is Level.SERIES)
        raise InvalidInputError(
            f"nobody can be limited by {keyword[:64]!r}: that goes by attributes of patient and study, and {of_series}"
        )
    return path


def _canonical(path: str, value: str) -> str:
    """Return a value as the index holds it."""
    from vna.dicom.dictionary import keyword_of
    from vna.normalise.pipeline import normalise
    from vna.normalise.terms import terms

    if not value:
        return ""
    if set("*?\\") & set(value):
        raise InvalidInputError(f"{value[:64]!r}: a limit has no wild cards; give each value by itself")
    vr = VR_OF[path]
    element = {"vr": vr, "Value": [{"Alphabetic": value} if vr == "PN" else value]}
    found = terms(normalise({path: element}).attributes).get(path, ())
    if len(found) != 1:
        raise InvalidInputError(f"{value[:64]!r} is no value of {keyword_of(int(path, 16))} ({vr})")
    return found[0]
