"""What a person asks of the worklist: the parameters of its URL, read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from urllib.parse import urlencode

from vna.domain.errors import InvalidQueryError
from vna.domain.query import AnyOf, Criterion, Words
from vna.normalise.fold import fold
from vna.search.matching import criteria_for

SORTS = ("-date", "date", "name", "-name")
MOST_PAGE = 100_000
MOST_CHOSEN = 50
"""Values of facets that are chosen together, at most: each is a link that has all of them."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field beside the search box."""

    key: str
    label: str
    path: str
    vr: str
    prefix: bool
    hint: str


FIELDS: tuple[Field, ...] = (
    Field("name", "Patient name", "00100010", "PN", True, "Family or Family^Given"),
    Field("id", "Patient ID", "00100020", "LO", True, "begins with"),
    Field("birth", "Birth date", "00100030", "DA", False, "YYYY-MM-DD"),
    Field("accession", "Accession number", "00080050", "SH", True, "begins with"),
    Field("referrer", "Referring physician", "00080090", "PN", True, "Family or Family^Given"),
)


@dataclass(frozen=True, slots=True)
class FacetField:
    """An attribute that the worklist can be narrowed by.

    ``of_series`` says that series have it: a study matches by any of its series.
    """

    key: str
    label: str
    path: str
    of_series: bool


FACETS: tuple[FacetField, ...] = (
    FacetField("modality", "Modality", "00080061", of_series=False),
    FacetField("manufacturer", "Manufacturer", "00080070", of_series=True),
    FacetField("body", "Body part", "00180015", of_series=True),
    FacetField("site", "Institution", "00080080", of_series=True),
)

PRESETS: Mapping[str, tuple[str, int]] = {
    "today": ("Today", 0),
    "week": ("Last 7 days", 7),
    "month": ("Last 30 days", 30),
    "year": ("Last 12 months", 365),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A state of the worklist; its URL says all of it.

    Attributes
    ----------
    q
        Free text.
    fields
        Texts of :data:`FIELDS` by key.
    facets
        Chosen values of :data:`FACETS` by key; several of one are alternatives.
    when
        One of :data:`PRESETS`, or empty.
    start, end
        First and last study date, as typed.
    sort
        One of :data:`SORTS`.
    page
        From 1.
    """

    q: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    facets: tuple[tuple[str, str], ...] = ()
    when: str = ""
    start: str = ""
    end: str = ""
    sort: str = "-date"
    page: int = 1

    @classmethod
    def parse(cls, parameters: Sequence[tuple[str, str]]) -> Asked:
        """Read the parameters of a URL; what is unknown or of no use is left out."""
        given: dict[str, str] = {}
        facets: dict[tuple[str, str], None] = {}
        keys = {facet.key for facet in FACETS}
        for key, raw in parameters:
            value = raw.strip()
            if key in keys and value:
                if len(facets) < MOST_CHOSEN:
                    facets[key, value] = None
            elif value:
                given[key] = value
        page = given.get("page", "1")
        return cls(
            q=given.get("q", ""),
            fields=tuple((field.key, given[field.key]) for field in FIELDS if field.key in given),
            facets=tuple(facets),
            when=given["when"] if given.get("when") in PRESETS else "",
            start=given.get("start", ""),
            end=given.get("end", ""),
            sort=given["sort"] if given.get("sort") in SORTS else "-date",
            page=min(max(int(page), 1), MOST_PAGE) if page.isascii() and page.isdigit() and len(page) < 10 else 1,
        )

    def query(self, **changes: object) -> str:
        """Return the URL's query of this state with changes, ``?`` before it; back on the first page unless told."""
        state = replace(self, **({"page": 1} | changes))  # type: ignore[arg-type]
        pairs = [("q", state.q), *state.fields, *state.facets, ("when", state.when)]
        pairs += [("start", state.start), ("end", state.end)]
        pairs += [("sort", "" if state.sort == "-date" else state.sort)]
        pairs += [("page", str(state.page) if state.page > 1 else "")]
        return "?" + urlencode([pair for pair in pairs if pair[1]])

    def toggled(self, key: str, value: str) -> str:
        """Return the query with a value of a facet chosen, or no longer chosen."""
        pair = (key, value)
        if pair in self.facets:
            return self.query(facets=tuple(each for each in self.facets if each != pair))
        return self.query(facets=(*self.facets, pair))

    def sorted_by(self, what: str) -> str:
        """Return the query with another order; the same one again turns it."""
        usual = {"date": "-date", "name": "name"}[what]
        turned = {"-date": "date", "name": "-name"}[usual]
        return self.query(sort=turned if self.sort == usual else usual)

    def field(self, key: str) -> str:
        """Return the text of a field."""
        return dict(self.fields).get(key, "")

    @property
    def narrowed(self) -> bool:
        """Whether anything is asked at all."""
        return bool(self.q or self.fields or self.facets or self.when or self.start or self.end)

    @property
    def chips(self) -> list[tuple[str, str, str]]:
        """What narrows the worklist: label, value, and the query without it."""
        chips = [("Words", self.q, self.query(q=""))] if self.q else []
        labels = {field.key: field.label for field in FIELDS} | {facet.key: facet.label for facet in FACETS}
        chips += [
            (labels[key], value, self.query(fields=tuple(each for each in self.fields if each[0] != key)))
            for key, value in self.fields
        ]
        if self.when:
            chips.append(("Study date", PRESETS[self.when][0], self.query(when="")))
        if self.start or self.end:
            chips.append(("Study date", f"{self.start or '…'} to {self.end or '…'}", self.query(start="", end="")))
        chips += [(labels[key], value, self.toggled(key, value)) for key, value in self.facets]
        return chips

    def chosen(self, facet: FacetField) -> tuple[str, ...]:
        """Return the chosen values of a facet."""
        return tuple(value for key, value in self.facets if key == facet.key)

    def criteria(self, today: date) -> tuple[Criterion, ...]:
        """Return what is asked of a study by free text, fields and dates; the facets are left out.

        Raises
        ------
        InvalidQueryError
            A text is none that its field can have; it says so for a person.
        """
        found: list[Criterion] = []
        words = tuple(fold(self.q).replace("^", " ").replace(",", " ").split())
        if words:
            found.append(Words(words))
        for field in FIELDS:
            value = self.field(field.key)
            if not value:
                continue
            if field.prefix and not set("*?") & set(value):
                value += "*"
            found += criteria_for(field.path, field.vr, _plain_date(value) if field.vr == "DA" else value)
        if self.when:
            first = today - timedelta(days=PRESETS[self.when][1])
            found += criteria_for("00080020", "DA", f"{first:%Y%m%d}-{today:%Y%m%d}")
        if self.start or self.end:
            found += criteria_for("00080020", "DA", f"{_plain_date(self.start)}-{_plain_date(self.end)}")
        return tuple(found)


def chosen_of(asked: Asked, facets: Sequence[FacetField]) -> tuple[Criterion, ...]:
    """Return the criteria of the chosen values of some facets."""
    pairs = [(facet, asked.chosen(facet)) for facet in facets]
    return tuple(AnyOf(facet.path, values) for facet, values in pairs if values)


def _plain_date(text: str) -> str:
    if not text:
        return ""
    try:
        return f"{date.fromisoformat(text):%Y%m%d}"
    except ValueError:
        raise InvalidQueryError(f"{text[:32]!r} is no date: write it as 2026-03-01") from None
