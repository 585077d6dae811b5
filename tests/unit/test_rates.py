"""Buckets of tokens, and what a request takes of them."""

from __future__ import annotations

import pytest

from vna.config import RateSettings
from vna.gateways.dicomweb.rates import PICTURE, STORE, WHOLE, RateLimits, cost
from vna.security.limits import NO_LIMITS
from vna.security.principals import Principal, Role
from vna.security.rates import Rates, whose


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_one_machine_has_the_addresses_of_a_network(address: str, counted: str) -> None:
    assert whose(address) == counted


def test_a_bucket_is_full_at_first_and_fills_at_its_rate() -> None:
    clock = Clock()
    rates = Rates(2, 5, clock)
    assert [rates.take("a") for _ in range(10)] == [0] * 10
    assert rates.take("a") == pytest.approx(0.5)
    assert rates.wait("a") == pytest.approx(0.5)
    assert rates.take("b") == 0
    clock.now += 0.5
    assert rates.wait("a") == 0
    assert rates.take("a") == 0
    assert rates.take("a", 4) == pytest.approx(2)
    clock.now += 60
    assert [rates.take("a") for _ in range(11)][-1] > 0


def test_what_costs_more_than_a_bucket_holds_is_to_be_had_for_a_full_one() -> None:
    clock = Clock()
    rates = Rates(1, 5, clock)
    assert rates.take("a", 8) == 0
    assert rates.take("a", 8) == pytest.approx(8)
    clock.now += 8
    assert rates.take("a", 8) == 0


def test_no_rate_is_no_limit() -> None:
    rates = Rates(0, 1)
    assert not any(rates.take("a", 100) for _ in range(1000))
    assert rates.wait("a") == 0


def test_many_subjects_are_not_kept_for_ever() -> None:
    clock = Clock()
    rates = Rates(10, 5, clock)
    for number in range(30_000):
        clock.now += 0.01
        rates.take(str(number))
    assert len(rates._full_at) <= 10_000


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "studies", STORE),
        ("POST", "studies/1.2", STORE),
        ("GET", "studies", 0),
        ("GET", "studies/1.2", WHOLE),
        ("GET", "studies/1.2/series/1.3", WHOLE),
        ("GET", "studies/1.2/series", 0),
        ("GET", "studies/1.2/bulkdata", WHOLE),
        ("GET", "studies/1.2/rendered", WHOLE),
        ("GET", "studies/1.2/thumbnail", PICTURE),
        ("GET", "studies/1.2/metadata", 0),
        ("GET", "studies/1.2/series/1.3/instances/1.4", 0),
        ("GET", "studies/1.2/series/1.3/instances/1.4/frames/1", 0),
        ("GET", "studies/1.2/series/1.3/instances/1.4/frames/1/rendered", PICTURE),
        ("GET", "wado", PICTURE),
        ("HEAD", "wado", PICTURE),
        ("DELETE", "studies/1.2", 0),
        ("POST", "workitems", 0),
    ],
)
def test_what_a_request_costs(method: str, path: str, expected: float) -> None:
    assert cost(f"/dicom-web/{path}", method) == expected


def scope(name: str, means: str = "key", address: str = "10.0.0.1") -> dict[str, object]:
    principal = Principal(name, Role.VIEWER, means, limits=NO_LIMITS)
    return {"path": "/dicom-web/studies", "method": "GET", "client": (address, 1), "state": {"principal": principal}}


def test_each_principal_has_a_bucket_and_each_address_without_one() -> None:
    limits = RateLimits(RateSettings(requests_per_second=1, costly_per_second=1, burst_seconds=1))
    stranger = {"path": "/ready", "client": ("10.0.0.9", 1)}
    for one in (
        scope("a"),
        scope("b"),
        scope("a", "session"),
        stranger,
        scope("anonymous", "network", "10.0.0.7"),
        scope("anonymous", "network", "10.0.0.8"),
    ):
        assert limits.refusal(one) is None
        refused = limits.refusal(one)
        assert refused is not None
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert b'"error":"too-many-requests"' in bytes(refused.body)


def test_the_defaults_let_a_viewer_load_a_big_series_and_a_fast_uploader_send() -> None:
    """Measured on two cores: OHIF asks for up to 131 frames a second; one process takes in 300 instances a second."""
    clock = Clock()
    settings = RateSettings()
    requests = Rates(settings.requests_per_second, settings.burst_seconds, clock)
    costly = Rates(settings.costly_per_second, settings.burst_seconds, clock)
    for _ in range(60):
        clock.now += 1
        assert not any(requests.take("viewer") for _ in range(400))
        assert not any(costly.take("uploader", STORE) for _ in range(400))
    # A page of a study with 500 series, each with a thumbnail.
    assert not any(costly.take("page", PICTURE) for _ in range(500))
