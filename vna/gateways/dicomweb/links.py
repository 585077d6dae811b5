"""URLs of the archive's resources, as clients see them."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request

from vna.domain.records import Location

BASE = "/dicom-web"
"""Path that the DICOMweb resources of PS3.18 10.1 lie below."""


def _authority(request: Request) -> str:
    """Return host and port that a client reached the server by."""
    authority = request.url.netloc
    host, port = request.scope.get("server") or ("", None)
    usual = {"http": 80, "https": 443}.get(request.url.scheme)
    if port and port != usual and authority == host:
        # dicomweb-client leaves the port out of the Host field. Where the host is the very address that
        # was connected to, no proxy stands between, and the port is known.
        return f"{host}:{port}"
    return authority


class Links:
    """Makes absolute URLs.

    Parameters
    ----------
    base_url
        What clients see of the server, without a trailing slash.
    """

    def __init__(self, base_url: str) -> None:
        self.root = base_url + BASE

    @classmethod
    def of(cls, request: Request, configured: str) -> Links:
        """Return the links for the answer to a request: by the configured URL, else by the request's own."""
        return cls(configured.rstrip("/") or f"{request.url.scheme}://{_authority(request)}")

    def study(self, study: str) -> str:
        """URL of a study."""
        return f"{self.root}/studies/{quote(study, safe='')}"

    def series(self, study: str, series: str) -> str:
        """URL of a series."""
        return f"{self.study(study)}/series/{quote(series, safe='')}"

    def instance(self, study: str, series: str, sop: str) -> str:
        """URL of an instance."""
        return f"{self.series(study, series)}/instances/{quote(sop, safe='')}"

    def own(self, request: Request) -> str:
        """URL of what a request asks for."""
        query = f"?{request.url.query}" if request.url.query else ""
        return f"{self.root.removesuffix(BASE)}{quote(request.url.path, safe='/,')}{query}"

    def at(self, location: Location) -> str:
        """URL of a stored instance."""
        return self.instance(location.uids.study, location.uids.series, location.uids.sop)

    def bulk(self, study: str, series: str, sop: str, path: str) -> str:
        """URL of a bulk value of an instance."""
        return f"{self.instance(study, series, sop)}/bulkdata/{quote(path, safe='')}"
