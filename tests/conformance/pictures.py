"""How a picture in an answer is looked at."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.conformance.support import Part

Grey = np.ndarray[Any, np.dtype[np.int16]]


def opened(content: bytes) -> Image.Image:
    """Return a picture, decoded."""
    made = Image.open(io.BytesIO(content))
    made.load()
    return made


def picture(answer: httpx.Response | Part, kind: str = "image/png") -> Grey:
    """Return rows and columns of grey values of an answer that is one picture of a kind."""
    content_type = answer.kind if isinstance(answer, Part) else answer.headers["content-type"]
    if isinstance(answer, httpx.Response):
        assert answer.status_code == 200, answer.text[:500]
    assert content_type.partition(";")[0] == kind, content_type
    made = opened(answer.content)
    assert Image.MIME[made.format or ""] == kind
    return np.asarray(made.convert("L")).astype(np.int16)
