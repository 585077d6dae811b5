"""Users, API keys, sessions and the brake on guessing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from vna.domain.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError
from vna.security import passwords
from vna.security.accounts import Accounts
from vna.security.limits import NO_LIMITS, Limits
from vna.security.principals import Permission, Principal, Role, roles_with
from vna.security.sessions import SECONDS, Sessions
from vna.security.throttle import Throttle, TooManyTriesError
from vna.store.folder import FolderStore


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "objects")


@pytest.fixture
def accounts(store: FolderStore, clock: Clock) -> Accounts:
    return Accounts(store, clock)


def test_a_user_signs_in_with_the_one_time_password_and_chooses_another(accounts: Accounts) -> None:
    given = accounts.add_user("Ann", Role.VIEWER)
    user = accounts.sign_in("ann", given)
    assert user is not None
    assert (user.name, user.role, user.must_change) == ("ann", Role.VIEWER, True)
    assert accounts.sign_in("ANN", given + "x") is None
    accounts.change_password("ann", "a much longer phrase")
    assert accounts.sign_in("ann", given) is None
    changed = accounts.sign_in("ann", "a much longer phrase")
    assert changed is not None
    assert not changed.must_change


@pytest.mark.parametrize("password", ["short", "ababababababab", "ann-ann-ann-12345", "x" * 300])
def test_a_poor_password_is_refused(accounts: Accounts, password: str) -> None:
    accounts.add_user("ann", Role.VIEWER)
    with pytest.raises(InvalidInputError):
        accounts.change_password("ann", password)


def test_the_old_password_is_no_new_one(accounts: Accounts) -> None:
    given = accounts.add_user("ann", Role.VIEWER)
    with pytest.raises(InvalidInputError, match="before"):
        accounts.change_password("ann", given)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "x" * 65, "ä"])
def test_a_name_that_is_none_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(InvalidInputError):
        accounts.add_user(name, Role.VIEWER)


def test_two_users_of_one_name_there_are_not(accounts: Accounts) -> None:
    accounts.add_user("ann", Role.VIEWER)
    with pytest.raises(ConflictError):
        accounts.add_user("Ann", Role.ADMINISTRATOR)
    assert [user.role for user in accounts.users()] == [Role.VIEWER]


def test_a_disabled_user_cannot_sign_in_until_reset(accounts: Accounts) -> None:
    given = accounts.add_user("ann", Role.VIEWER)
    accounts.disable("ann")
    assert accounts.sign_in("ann", given) is None
    again = accounts.reset_password("ann")
    assert accounts.sign_in("ann", again) is not None


def test_the_first_administrator_is_made_once(accounts: Accounts) -> None:
    given = accounts.first_administrator()
    user = accounts.sign_in("admin", given)
    assert user is not None
    assert user.role is Role.ADMINISTRATOR
    assert user.must_change
    assert accounts.first_administrator() == ""


def test_the_last_administrator_stays(accounts: Accounts) -> None:
    accounts.add_user("first", Role.ADMINISTRATOR)
    accounts.add_user("ann", Role.VIEWER)
    for change in (accounts.disable, lambda name: accounts.set_role(name, Role.VIEWER)):
        with pytest.raises(ConflictError, match="first is the last administrator"):
            change("first")
    accounts.add_user("second", Role.ADMINISTRATOR)
    accounts.disable("first")
    assert accounts.user("first").disabled
    with pytest.raises(ConflictError, match="second is the last administrator"):
        accounts.set_role("second", Role.VIEWER)
    accounts.set_role("second", Role.ADMINISTRATOR)


def test_passwords_and_secrets_are_not_kept(store: FolderStore, accounts: Accounts) -> None:
    given = accounts.add_user("ann", Role.VIEWER)
    token = accounts.add_key("pacs", Role.TECHNOLOGIST)
    kept = b"".join(store.get(info.key) for info in store.list("security/"))
    assert given.encode() not in kept
    assert token.rpartition("_")[2].encode() not in kept


def test_a_key_is_known_until_it_ends_or_is_removed(accounts: Accounts, clock: Clock) -> None:
    token, short = accounts.add_key("pacs", Role.TECHNOLOGIST), accounts.add_key("trial", Role.VIEWER, days=1)
    assert accounts.check_key(token) == Principal("pacs", Role.TECHNOLOGIST, "key")
    assert accounts.check_key(short) is not None
    clock.now += 86_401
    assert accounts.check_key(short) is None
    [identity] = [each.id for each in list(accounts.keys()) if each.name == "pacs"]
    assert accounts.check_key(token[:-1] + ("a" if token[-1] != "a" else "b")) is None
    accounts.remove_key(identity)
    assert accounts.check_key(token) is None
    with pytest.raises(NotFoundError):
        accounts.remove_key(identity)
    for wrong in ("", "vna_", "x" * 9000, "vna_../../../x_" + "a" * 43):
        assert accounts.check_key(wrong) is None


def test_a_session_names_its_user_until_something_changes(store: FolderStore, accounts: Accounts, clock: Clock) -> None:
    sessions = Sessions(store, accounts, clock)
    accounts.add_user("ann", Role.VIEWER, "a much longer phrase")
    session = sessions.issue(accounts.user("ann"))
    assert sessions.read(session) == Principal("ann", Role.VIEWER, "session")
    # Another gateway of the same archive knows it, another archive's secret does not.
    assert Sessions(store, accounts, clock).read(session) is not None
    accounts.set_role("ann", Role.ADMINISTRATOR)
    assert sessions.read(session) is None
    session = sessions.issue(accounts.user("ann"))
    clock.now += SECONDS + 1
    assert sessions.read(session) is None


def test_a_session_is_over_for_every_copy_when_its_user_signs_out(
    store: FolderStore, accounts: Accounts, clock: Clock
) -> None:
    accounts.add_user("ann", Role.VIEWER, "a much longer phrase")
    sessions = Sessions(store, accounts, clock)
    first = sessions.issue(accounts.user("ann"))
    clock.now += 1
    second = sessions.issue(accounts.user("ann"))
    sessions.end(first)
    sessions.end("no session")
    sessions.end(sessions.seal("a text", 60))
    assert sessions.read(first) is None
    assert sessions.read(second) is not None
    clock.now += SECONDS
    sessions.end(third := sessions.issue(accounts.user("ann")))
    assert sessions.read(third) is None
    assert len(list(store.list("security/sessions-ended/"))) == 1


@pytest.mark.parametrize("change", ["name", "until", "mark", "signature", "cut", "strange"])
def test_a_forged_session_is_nobody(store: FolderStore, accounts: Accounts, clock: Clock, change: str) -> None:
    sessions = Sessions(store, accounts, clock)
    accounts.add_user("ann", Role.VIEWER, "a much longer phrase")
    accounts.add_user("bob", Role.ADMINISTRATOR, "another long phrase")
    name, until, mark, signature = sessions.issue(accounts.user("ann")).split(".")
    other = sessions.issue(accounts.user("bob")).split(".")
    forged = {
        "name": f"{other[0]}.{until}.{mark}.{signature}",
        "until": f"{name}.{int(until) + 1}.{mark}.{signature}",
        "mark": f"{name}.{until}.{other[2]}.{signature}",
        "signature": f"{name}.{until}.{mark}.{other[3]}",
        "cut": f"{name}.{until}",
        "strange": "ü.1.2.3",
    }[change]
    assert sessions.read(forged) is None


def test_a_document_that_is_broken_is_an_error_that_says_so(store: FolderStore, accounts: Accounts) -> None:
    accounts.add_user("ann", Role.VIEWER)
    [info] = store.list("security/users/")
    for data in (b"{}", b"no json", b'{"role": "viewer"}', b'{"role": "king", "name": "ann"}'):
        store.replace(info.key, data)
        with pytest.raises(IntegrityError):
            accounts.user("ann")


def test_a_digest_that_is_none_matches_nothing() -> None:
    for kept in ("", "scrypt$1$2", "md5$1$1$1$YQ==$YQ==", "scrypt$x$8$1$YQ==$YQ=="):
        assert not passwords.matches("password", kept)


def test_guessing_becomes_slow_and_success_forgives(clock: Clock) -> None:
    throttle = Throttle(clock)
    for _ in range(4):
        throttle.failed("ann")
    assert throttle.wait("ann") == 0
    throttle.failed("ann")
    assert throttle.wait("ann", "bob") == 1
    throttle.failed("ann")
    assert throttle.wait("ann") == 2
    for _ in range(20):
        throttle.failed("ann")
    assert throttle.wait("ann") == 900
    assert throttle.wait("bob") == 0
    throttle.succeeded("ann")
    assert throttle.wait("ann") == 0


def test_guessing_in_many_requests_at_once_is_no_faster(clock: Clock) -> None:
    throttle, looked_at = Throttle(clock), 0

    async def wrong() -> None:
        nonlocal looked_at
        looked_at += 1
        await asyncio.sleep(0)

    async def guess(names: Iterable[str]) -> int:
        tries = (throttle.tried(name, "192.0.2.1", wrong) for name in names)
        found = await asyncio.gather(*tries, return_exceptions=True)
        return sum(isinstance(each, TooManyTriesError) for each in found)

    assert asyncio.run(guess(["ann"] * 100)) == 95
    assert looked_at == 5
    # One password for many names: the address is slowed down, and what is known to be right is not.
    assert asyncio.run(guess(f"user{number}" for number in range(200))) > 100
    assert asyncio.run(guess(["bob"])) == 1
    assert asyncio.run(throttle.tried("eve", "192.0.2.1", _right, known=True)) == "eve"
    assert asyncio.run(throttle.tried("bob", "192.0.2.2", _right)) == "eve"
    assert looked_at < 80


async def _right() -> str:
    return "eve"


def test_roles_have_what_they_need_and_no_more() -> None:
    assert roles_with(Permission.OPERATE) == [Role.ADMINISTRATOR]
    assert roles_with(Permission.STORE) == [Role.TECHNOLOGIST, Role.ADMINISTRATOR]
    assert set(roles_with(Permission.READ)) == set(Role) - {Role.RESEARCHER}
    newcomer = Principal("admin", Role.ADMINISTRATOR, "session", must_change_password=True)
    assert not any(newcomer.may(permission) for permission in Permission)


CARDIOLOGY = Limits.parse(["InstitutionalDepartmentName=Cardiology", "IssuerOfPatientID=HOSP-A"])


def test_a_key_that_is_bound_to_a_certificate_is_worth_nothing_without_it(accounts: Accounts) -> None:
    token = accounts.add_key("machine", Role.VIEWER, certificate="ab" * 32)
    assert accounts.check_key(token) is None
    assert accounts.check_key(token, "cd" * 32) is None
    assert accounts.check_key(token, "ab" * 32) == Principal("machine", Role.VIEWER, "key")


def test_limits_go_with_users_keys_and_sessions(store: FolderStore, accounts: Accounts, clock: Clock) -> None:
    accounts.add_user("ann", Role.VIEWER, "a much longer phrase", CARDIOLOGY)
    sessions = Sessions(store, accounts, clock)
    session = sessions.issue(accounts.user("ann"))
    assert accounts.user("ann").limits == CARDIOLOGY
    found = sessions.read(session)
    assert found is not None
    assert found.limits == CARDIOLOGY
    accounts.set_limits("ann", NO_LIMITS)
    assert sessions.read(session) is None
    key = accounts.check_key(accounts.add_key("pacs", Role.VIEWER, limits=CARDIOLOGY))
    assert key is not None
    assert key.limits == CARDIOLOGY
    external = sessions.read(sessions.issue_external("eve", Role.VIEWER, CARDIOLOGY))
    assert external == Principal("eve", Role.VIEWER, "session", limits=CARDIOLOGY)


def test_who_is_limited_may_nothing_that_is_of_the_whole_archive() -> None:
    limited = Principal("ann", Role.ADMINISTRATOR, "key", limits=CARDIOLOGY)
    allowed = {permission for permission in Permission if limited.may(permission)}
    assert allowed <= {Permission.READ, Permission.READ_DEIDENTIFIED, Permission.STORE, Permission.DELETE}


def test_limits_that_cannot_be_read_are_no_way_in(store: FolderStore, accounts: Accounts) -> None:
    accounts.add_user("ann", Role.VIEWER, "a much longer phrase", CARDIOLOGY)
    [info] = store.list("security/users/")
    store.replace(info.key, store.get(info.key).replace(b"InstitutionalDepartmentName", b"NoSuchAttribute"))
    with pytest.raises(IntegrityError):
        accounts.sign_in("ann", "a much longer phrase")
