"""Every call, against a real service."""

import asyncio
import inspect
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from time import sleep
from typing import Any

import httpx
import pytest
from service import ADMIN_KEY, API_KEY, Service

import sessman
from sessman import (
    AsyncSessionManager,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RateLimitError,
    ServerError,
    Session,
    SessionManager,
    SessmanError,
    UnauthorizedError,
    UnavailableError,
    ValidationError,
    VersionConflictError,
)
from sessman.calls import Answer, Calls

NOWHERE = "http://127.0.0.1:1/sessman"


@pytest.fixture
def empty() -> Iterator[SessionManager]:
    """Return a client of a service that nobody else uses."""
    with Service() as service, SessionManager(**service.options) as manager:
        yield manager


def test_a_session_begins_is_read_changed_and_ended(manager: SessionManager) -> None:
    session = manager.create_session("ada", {"role": "admin", "seen": 1, "ratio": 1.0}, metadata={"device": "desk"})
    assert session.user_id == "ada"
    assert session.metadata["device"] == "desk"
    read = manager.get_session(session.session_id)
    assert read == session
    assert read["role"] == "admin"
    assert isinstance(read["ratio"], float)
    assert isinstance(read["seen"], int)

    assert manager.update_session(session, {"cart": [1]}).data == {"cart": [1]}
    patched = manager.patch_session(session, {"cart": None, "theme": "dark"})
    assert patched.data == {"theme": "dark"}
    assert patched.version > session.version
    assert patched.session_id == session.session_id

    touched = manager.touch_session(session)
    assert touched.expires_at >= patched.expires_at
    assert manager.is_session_active(session)
    assert manager.validate_session(session) == touched
    manager.end_session(session)
    assert not manager.is_session_active(session)
    assert manager.validate_session(session) is None
    assert manager.invalidate_session(session) is False


def test_times_are_in_utc_and_a_time_to_live_can_be_asked_for(service: Service, manager: SessionManager) -> None:
    session = manager.create_session(ttl_seconds=1800)
    assert session.expires_at - session.created_at == timedelta(seconds=1800)
    assert abs(session.created_at - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert session.auth_time is None
    with SessionManager(**service.options, ttl_seconds=600) as short:
        assert short.create_session().expires_at - session.created_at < timedelta(seconds=900)
        with pytest.raises(ValidationError, match="ttl_seconds"):
            short.create_session(ttl_seconds=0)


def test_an_id_of_the_callers_own_making(manager: SessionManager) -> None:
    made = "framework-" + "k7" * 16
    assert manager.create_session(external_id=made).session_id == made
    with pytest.raises(ConflictError):
        manager.create_session(external_id=made)
    assert manager.invalidate_session(made) is True


def test_a_visitor_logs_in_and_the_old_id_is_dead(manager: SessionManager) -> None:
    visitor = manager.create_session(data={"cart": ["tea"]})
    user = manager.rotate_session(visitor, "ada")
    assert user.user_id == "ada"
    assert user.auth_time is not None
    assert user["cart"] == ["tea"]
    assert user.handle == visitor.handle
    assert user.session_id != visitor.session_id
    with pytest.raises(NotFoundError):
        manager.get_session(visitor)
    with pytest.raises(ConflictError):
        manager.rotate_session(user, "eve")
    assert manager.get_session(user, user_id="ada").handle == user.handle
    assert manager.validate_session(user, user_id="eve") is None


def test_a_change_of_what_was_not_read_is_refused(manager: SessionManager) -> None:
    session = manager.create_session(data={"hits": 0})
    manager.update_session(session, {"hits": 1}, if_match=session.etag)
    with pytest.raises(VersionConflictError) as refused:
        manager.update_session(session, {"hits": 1}, if_match=session.etag)
    assert refused.value.status == 412
    with pytest.raises(VersionConflictError):
        manager.patch_session(session, {"hits": 2}, if_match=session.etag)
    assert manager.get_session(session)["hits"] == 1


def test_a_change_is_made_to_what_is_there(manager: SessionManager) -> None:
    session = manager.create_session(data={"hits": 0})

    def hit(data: Any) -> Any:
        return {"hits": data["hits"] + 1}

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: manager.change_session(session, hit), range(20)))
    assert manager.change_session(session.session_id, hit)["hits"] == 21

    def refuse(data: Any) -> Any:
        raise OverflowError(data["hits"])

    with pytest.raises(OverflowError, match="21"):
        manager.change_session(session.session_id, refuse)


def test_those_who_met_wait_for_different_times(manager: SessionManager) -> None:
    session = manager.create_session(data={})
    stale = Session(**{**vars(session), "etag": '"0-0"'})
    pauses = []
    for _ in range(2):
        flow = Calls(None, None).change_session(stale, lambda data: data)
        assert next(flow).pause == 0
        pauses.append(flow.send(Answer(412, {}, b"{}")).pause)
        flow.close()
    assert pauses[0] != pauses[1]
    assert all(0 < each <= 0.02 for each in pauses)
    assert manager.change_session(stale, lambda _: {"n": 1}).data == {"n": 1}


def test_a_tag_that_a_proxy_weakened_is_matched(service: Service) -> None:
    class Weakening(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = super().handle_request(request)
            answer.headers["ETag"] = f"W/{answer.headers['ETag']}"
            return answer

    with SessionManager(**service.options, transport=Weakening()) as manager:
        session = manager.create_session(data={"n": 1})
        assert manager.update_session(session, {"n": 2}, if_match=session.etag)["n"] == 2


def test_a_user_sees_and_ends_own_sessions(manager: SessionManager) -> None:
    desk, phone, tablet = (manager.create_session("kim", metadata={"device": name}) for name in "dpt")
    own = manager.get_own_sessions(desk)
    assert {each.handle for each in own} == {desk.handle, phone.handle, tablet.handle}
    assert [each.handle for each in own if each.current] == [desk.handle]
    manager.end_own_session(desk, phone.handle)
    with pytest.raises(NotFoundError):
        manager.end_own_session(desk, phone.handle)
    assert manager.end_other_sessions(desk) == 1
    assert [manager.is_session_active(each) for each in (desk, phone, tablet)] == [True, False, False]


def test_administrators_list_count_and_end(empty: SessionManager) -> None:
    for number in range(3):
        empty.create_session("ada & eve" if number else None)
    assert len(empty.list_sessions()) == 3
    assert [each.user_id for each in empty.get_user_sessions("ada & eve")] == ["ada & eve"] * 2
    stats = empty.get_session_stats()
    assert (stats["total_sessions"], stats["active_sessions"], stats["expired_sessions"]) == (3, 3, 0)
    assert empty.end_user_sessions("ada & eve") == 2
    assert empty.get_session_count() == 1
    empty.create_session(ttl_seconds=1)
    while empty.get_session_count() == 2:
        sleep(0.05)
    assert empty.get_session_stats()["expired_sessions"] == 1
    assert empty.cleanup_expired_sessions() == 1
    assert empty.clear_all_sessions() == 1
    assert empty.list_sessions() == []


def test_lists_have_all_pages(empty: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessman.calls._PAGE", 3)
    begun = {empty.create_session("ada").handle for _ in range(10)}
    listed = [each.handle for each in empty.list_sessions()]
    assert len(listed) == 10
    assert set(listed) == begun


def test_each_refusal_has_its_error(service: Service, manager: SessionManager) -> None:
    session = manager.create_session()
    with SessionManager(service.url) as stranger:
        with pytest.raises(UnauthorizedError) as refused:
            stranger.create_session()
        assert refused.value.status == 401
        with pytest.raises(UnauthorizedError):
            stranger.list_sessions()
    with pytest.raises(ValidationError, match="user_id"):
        manager.create_session("")
    with pytest.raises(ValidationError):
        manager.create_session(ttl_seconds=-1)
    with pytest.raises(ValidationError) as too_large:
        manager.update_session(session, "x" * 300_000)
    assert too_large.value.status == 413
    with pytest.raises(ValidationError) as too_great:
        manager.update_session(session, {"n": 2**70})
    assert too_great.value.status == 422
    for no_json in [{"n": float("nan")}, {"n": object()}, {"n": "\ud800"}]:
        with pytest.raises(ValidationError, match="only JSON"):
            manager.update_session(session, no_json)
    with Service(new_rate=1) as slow, SessionManager(**slow.options) as hasty:
        hasty.create_session("ada")
        with pytest.raises(RateLimitError) as limited:
            hasty.create_session("ada")
        assert limited.value.retry_after > 1


@pytest.mark.parametrize("session_id", ["", "x", "x" * 48, "é" * 48, "a b", "a\r\nX-Admin-Key: x", "x" * 5000])
def test_no_id_that_a_client_makes_up_does_harm(manager: SessionManager, session_id: str) -> None:
    assert not manager.is_session_active(session_id)
    assert manager.invalidate_session(session_id) is False
    with pytest.raises(NotFoundError):
        manager.update_session(session_id, {})


def test_the_environment_says_where_and_with_which_keys(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSMAN_URL", service.url)
    monkeypatch.setenv("SESSMAN_KEY", API_KEY)
    monkeypatch.setenv("SESSMAN_ADMIN_KEY", "")
    with SessionManager.from_environment() as manager:
        manager.create_session()
        with pytest.raises(UnauthorizedError, match="X-Admin-Key"):
            manager.list_sessions()


def test_a_service_that_is_away_says_when_to_try_again() -> None:
    with SessionManager(NOWHERE) as manager, pytest.raises(UnavailableError) as away:
        manager.create_session("ada")
    assert away.value.retry_after >= 1
    assert "127.0.0.1:1" in str(away.value)


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (200, SessmanError, "base_url"),
        (500, ServerError, "500"),
        (502, UnavailableError, "502"),
        (404, NotFoundError, "404"),
        (403, ForbiddenError, "403"),
    ],
)
def test_an_answer_of_something_else_is_an_error(status: int, kind: type[SessmanError], says: str) -> None:
    other = httpx.MockTransport(lambda _: httpx.Response(status, html="<p>Hello</p>"))
    with SessionManager(transport=other) as manager:
        for call in (manager.get_session, manager.is_session_active, manager.end_session):
            with pytest.raises(kind, match=says) as error:
                call("x" * 48)
            assert error.value.status == status


def test_secrets_are_shown_nowhere(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with SessionManager(**service.options) as manager:
        session = manager.create_session("ada", {"card": "4711-4711"})
        manager.get_session(session)
        manager.get_own_sessions(session)
        manager.get_user_sessions("ada")
        rotated = manager.rotate_session(session)
        errors = []
        for call in (manager.get_session, manager.end_session, manager.touch_session):
            with pytest.raises(NotFoundError) as error:
                call(session)
            errors.append(repr(error.value))
        shown = [repr(manager), repr(session), str(session), *errors]
    urls = "\n".join(record.getMessage() for record in caplog.records if record.name == "httpx")
    assert "/sessman/get" in urls
    for secret in [session.session_id, rotated.session_id, API_KEY, ADMIN_KEY, "4711-4711"]:
        assert all(secret not in text for text in [*shown, urls, service.log()])
    for url in [f"http://{API_KEY}:x@localhost/sessman", "http://localhost/sessman?apikey=x", "localhost:6123"]:
        with pytest.raises(ValueError, match="base_url") as refused:
            SessionManager(url)
        assert API_KEY not in str(refused.value)


@pytest.mark.parametrize("client", [SessionManager, AsyncSessionManager])
@pytest.mark.parametrize("name", ["api_key", "admin_key"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(client: Any, name: str) -> None:
    for key in ["s3cret\n", "s3cret key", "s3cret\u00e9", ""]:
        with pytest.raises(ValueError, match=name) as refused:
            client(**{name: key})
        assert "s3cret" not in str(refused.value)
        assert refused.value.__context__ is None


def test_the_cookie_of_one_session_is_not_sent_for_another(service: Service) -> None:
    sent: list[httpx.Request] = []

    class Watched(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(request)
            return super().handle_request(request)

    with SessionManager(**service.options, transport=Watched()) as manager:
        manager.rotate_session(manager.create_session())
        manager.list_sessions()
    assert len(sent) == 3
    assert all("cookie" not in request.headers for request in sent)


def test_the_same_calls_can_be_awaited(service: Service) -> None:
    async def use() -> None:
        async with AsyncSessionManager(**service.options) as manager:
            begun = [manager.create_session("tia", {"n": number}) for number in range(8)]
            sessions: list[Session] = await asyncio.gather(*begun)
            assert sorted(each["n"] for each in sessions) == list(range(8))
            assert len(await manager.get_user_sessions("tia")) == 8
            first, *_ = sessions
            assert (await manager.patch_session(first, {"n": 9}))["n"] == 9
            assert await manager.end_other_sessions(first) == 7
            assert await manager.invalidate_session(first)
            assert await manager.validate_session(first) is None
        async with AsyncSessionManager(NOWHERE) as manager:
            with pytest.raises(UnavailableError):
                await manager.get_session_count()

    asyncio.run(use())


def test_both_clients_have_every_call_and_say_what_it_returns() -> None:
    calls = {name: call for name, call in vars(Calls).items() if not name.startswith("_")}
    assert len(calls) == 21
    for name, call in calls.items():
        for client in (SessionManager, AsyncSessionManager):
            method: Any = getattr(client, name)
            told = inspect.signature(method)
            assert told.parameters == inspect.signature(call).parameters
            assert told.return_annotation == inspect.signature(call).return_annotation.__args__[-1]
            assert method.__doc__ == call.__doc__
    assert all(getattr(sessman, name).__doc__ for name in sessman.__all__)


def test_a_user_may_be_a_whole_number(manager: SessionManager) -> None:
    session = manager.create_session(700)
    assert session.user_id == "700"
    assert manager.get_session(session, user_id=700).user_id == "700"
    assert manager.validate_session(session, user_id=701) is None
    assert manager.rotate_session(manager.create_session(), 700).user_id == "700"
    assert {each.user_id for each in manager.get_user_sessions(700)} == {"700"}
    assert manager.end_user_sessions(700) == 2
    for other in (True, 1.5, b"ada"):
        with pytest.raises(TypeError, match="whole number"):
            manager.create_session(other)  # type: ignore[arg-type]
