"""Texts in the character sets of PS3.5 6.1 and PS3.3 C.12.1.1.2, declared, missing or wrong."""

from __future__ import annotations

import re
from collections.abc import Callable

ESC = b"\x1b"

_DIGITS = {
    "6": "ascii",
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "203": "iso8859_15",
    "166": "iso8859_11",
    "13": "shift_jis",
    "87": "iso2022_jp",
    "159": "iso2022_jp_2",
    "149": "euc_kr",
    "58": "gb2312",
    "192": "utf_8",
}
"""Python's codec for each ISO registration number of a defined term."""

_OTHER_TERMS = {"": "ascii", "GB18030": "gb18030", "GBK": "gbk", "UTF8": "utf_8", "LATIN1": "latin_1"}

_ESCAPES = {
    b"(B": "",  # back to the first value's G0: ASCII
    b"-A": "latin_1",
    b"-B": "iso8859_2",
    b"-C": "iso8859_3",
    b"-D": "iso8859_4",
    b"-F": "iso8859_7",
    b"-G": "iso8859_6",
    b"-H": "iso8859_8",
    b"-L": "iso8859_5",
    b"-M": "iso8859_9",
    b"-b": "iso8859_15",
    b"-T": "iso8859_11",
    b"(J": "shift_jis",
    b")I": "shift_jis",
    b"$B": "iso2022_jp",
    b"$@": "iso2022_jp",
    b"$(D": "iso2022_jp_2",
    b"$)C": "euc_kr",
    b"$)A": "gb2312",
}
"""Codec in force after an escape sequence (PS3.3 C.12.1.1.2, tables C.12-3 and C.12-4)."""

_STATEFUL = frozenset({"iso2022_jp", "iso2022_jp_2"})
_MULTIBYTE = frozenset({"gb18030", "gbk", "utf_8"})
_DELIMITERS = re.compile(rb"[\\^=\r\n\f\t]")
_ESCAPE = re.compile(rb"\x1b(\$\([A-Z]|\$\)[A-Z]|\$[A-Z@]|[()\-][A-Za-z])")
_SURROGATE = re.compile("[\ud800-\udfff]")


def codec_of(term: str) -> str | None:
    """Return Python's codec for a defined term of Specific Character Set, ``None`` for one that is not known.

    Spellings that devices are known to write (``ISO-IR 100``, ``ISO_IR_100``, ``utf-8``) are understood.
    """
    plain = re.sub(r"[ _\-.]", "", term).upper()
    if plain in _OTHER_TERMS:
        return _OTHER_TERMS[plain]
    match = re.fullmatch(r"(?:ISO2022|ISO)?(?:IR)?(\d+)|ISO2022(GBK|GB18030)", plain)
    if match is None:
        return None
    return _DIGITS.get(match[1]) if match[1] else match[2].lower()


class Charset:
    """A Specific Character Set (0008,0005) in force.

    Parameters
    ----------
    terms
        Its values; none is the default repertoire, ASCII.
    warn
        Called with a sentence for each thing that is wrong.
    """

    __slots__ = ("_codec", "_warn", "declared", "terms")

    def __init__(self, terms: tuple[str, ...], warn: Callable[[str], None]) -> None:
        self.terms = terms
        self._warn = warn
        first = terms[0] if terms else ""
        codec = codec_of(first)
        for term in terms:
            if codec_of(term) is None:
                warn(f"Specific Character Set {term[:32]!r} is not known")
        self._codec = codec or ""
        self.declared = ", ".join(terms) or "none"

    def decode(self, raw: bytes) -> str:
        """Return the text of a value; never fails."""
        if ESC not in raw:
            if raw.isascii():
                return raw.decode("ascii")
            if self._codec and self._codec != "ascii":
                return self._plain(raw, self._codec)
            return self._fall_back(raw)
        if self._codec in _MULTIBYTE:
            return self._plain(raw, self._codec)
        try:
            return self._escaped(raw)
        except UnicodeDecodeError:
            return self._fall_back(raw)

    def _plain(self, raw: bytes, codec: str) -> str:
        try:
            text = raw.decode(codec)
        except UnicodeDecodeError:
            return self._fall_back(raw)
        return _SURROGATE.sub("\ufffd", text)

    def _fall_back(self, raw: bytes) -> str:
        for codec in ("utf_8", "cp1252", "latin_1"):
            try:
                text = raw.decode(codec)
            except UnicodeDecodeError:
                continue
            self._warn(f"a text is not in the declared character set ({self.declared[:64]}); read as {codec}")
            return text
        raise AssertionError("latin_1 decodes everything")  # pragma: no cover

    def _escaped(self, raw: bytes) -> str:
        """Decode ISO 2022 code extension (PS3.5 6.1.2.5.3): delimiters return to the first value's set."""
        first = self._codec or "ascii"
        if first in _STATEFUL or first in {"euc_kr", "gb2312"}:
            first = "ascii"
        out = []
        at = 0
        codec = first
        escape = b""
        for match in _ESCAPE.finditer(raw):
            out.append(self._fragment(raw[at : match.start()], codec, escape, first))
            at = match.end()
            found = _ESCAPES.get(match[1])
            if found is None:
                self._warn("a text has an escape sequence that is not known")
            codec = found or first
            escape = match[0]
        out.append(self._fragment(raw[at:], codec, escape, first))
        return "".join(out).replace("\x1b", "")

    @staticmethod
    def _fragment(part: bytes, codec: str, escape: bytes, first: str) -> str:
        if not part:
            return ""
        if codec in _STATEFUL:
            return (escape + part).decode(codec)
        if codec == first:
            return part.decode(codec)
        end = _DELIMITERS.search(part)
        if end is None:
            return part.decode(codec)
        return part[: end.start()].decode(codec) + part[end.start() :].decode(first)
