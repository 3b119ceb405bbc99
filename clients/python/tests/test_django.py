"""What Django's own tests of session engines, which `django_suite.py` runs, do not ask."""

import pickle
from collections.abc import Iterator
from datetime import datetime, timedelta
from time import sleep
from typing import Any

import django
import pytest
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.utils import timezone
from service import Service

from sessman import SessionManager, ValidationError

settings.configure(SECRET_KEY="for tests alone", SESSION_COOKIE_AGE=3600, USE_TZ=True, ALLOWED_HOSTS=["127.0.0.1"])
django.setup()

from sessman.django import SessionMiddleware, SessionStore  # noqa: E402


class Pickles:
    """A serializer that makes no JSON."""

    def dumps(self, data: Any) -> bytes:
        return pickle.dumps(data)


urlpatterns: list[Any] = []


@pytest.fixture(autouse=True)
def configured(service: Service) -> Iterator[None]:
    with override_settings(SESSMAN=service.options):
        yield


def saved(**members: Any) -> SessionStore:
    session = SessionStore()
    session.update(members)
    session.save()
    return session


def key(session: SessionStore) -> str:
    assert session.session_key is not None
    return session.session_key


def lifetime(manager: SessionManager, session: SessionStore) -> timedelta:
    stored = manager.get_session(key(session))
    return stored.expires_at - stored.last_activity


def test_a_session_lives_as_long_as_django_says(manager: SessionManager) -> None:
    session = saved(cart=["tea"])
    first = key(session)
    assert lifetime(manager, session) == timedelta(seconds=3600)
    for _ in range(2):
        session.set_expiry(7200)
        session.save()
        again = SessionStore(key(session))
        assert again["cart"] == ["tea"]
        assert lifetime(manager, session) == timedelta(seconds=7200)
    assert key(session) != first
    assert not manager.is_session_active(first)
    second = key(session)
    session.set_expiry(60)
    session.save()
    assert lifetime(manager, session) == timedelta(seconds=60)
    assert not manager.is_session_active(second)


def test_a_date_on_which_a_session_ends_does_not_change_its_key(manager: SessionManager) -> None:
    session = saved()
    session.set_expiry(timezone.now() + timedelta(hours=2))
    session.save()
    begun = key(session)
    assert lifetime(manager, session) <= timedelta(hours=2)
    session["cart"] = ["tea"]
    session.save()
    assert key(session) == begun
    # The store has it for longer than the date that it was brought forward to.
    session.set_expiry(timezone.now() - timedelta(seconds=1))
    session.save()
    assert manager.is_session_active(begun)
    assert SessionStore(begun).get("cart") is None


def test_a_save_without_a_change_lets_the_time_begin_again(manager: SessionManager) -> None:
    session = saved(cart=["tea"])
    before = manager.get_session(key(session))
    again = SessionStore(key(session))
    again.save()
    after = manager.get_session(key(session))
    assert after.version == before.version
    assert after.expires_at > before.expires_at


def test_the_user_of_the_login_is_the_sessions_user(manager: SessionManager) -> None:
    session = saved(cart=["tea"])
    visitor = key(session)
    session["_auth_user_id"] = "7"
    session.save()
    user = key(session)
    assert manager.get_session(user).user_id == "7"
    assert not manager.is_session_active(visitor)
    session["_auth_user_id"] = "8"
    session.save()
    assert manager.get_session(key(session)).user_id == "8"
    assert not manager.is_session_active(user)


def test_who_logged_in_elsewhere_stays_logged_in(manager: SessionManager) -> None:
    elsewhere = manager.create_session("ada", {"cart": ["tea"]})
    session = SessionStore(elsewhere.session_id)
    session["cart"] = ["jam"]
    session.save()
    stored = manager.get_session(elsewhere)
    assert (stored.user_id, stored.data) == ("ada", {"cart": ["jam"]})


def test_what_another_request_changed_between_two_saves_is_kept(manager: SessionManager) -> None:
    session = saved(cart=["tea"], old=True)
    for number in range(2):
        manager.patch_session(key(session), {f"note-{number}": number})
        session["cart"] = [*session["cart"], "jam"]
        session.pop("old", None)
        session.save()
    assert manager.get_session(key(session)).data == {"cart": ["tea", "jam", "jam"], "note-0": 0, "note-1": 1}


def test_a_session_that_was_emptied_stays(manager: SessionManager) -> None:
    session = saved(cart=["tea"])
    del session["cart"]
    session.save()
    assert manager.get_session(key(session)).data == {}


def test_expired_sessions_are_cleared_by_who_may(service: Service, manager: SessionManager) -> None:
    expired = manager.create_session(ttl_seconds=1)
    while manager.is_session_active(expired):
        sleep(0.05)
    no_admin = {name: value for name, value in service.options.items() if name != "admin_key"}
    with override_settings(SESSMAN=no_admin):
        SessionStore.clear_expired()
    manager.cleanup_expired_sessions()
    SessionStore.clear_expired()
    assert manager.get_session_stats()["expired_sessions"] == 0


@override_settings(SESSION_SERIALIZER=f"{__name__}.Pickles")
def test_a_serializer_that_makes_no_json_is_refused() -> None:
    from django.core.exceptions import ImproperlyConfigured

    with pytest.raises(ImproperlyConfigured, match="SESSION_SERIALIZER"):
        saved(cart=["tea"])


def logged_in(**members: Any) -> SessionStore:
    return saved(_auth_user_id="7", **members)


def test_a_login_that_an_administrator_ended_is_not_begun_again_by_a_new_key(manager: SessionManager) -> None:
    session = SessionStore(key(logged_in()))
    assert session["_auth_user_id"] == "7"
    manager.end_session(key(session))
    with pytest.raises(UpdateError):
        session.cycle_key()
    visit = SessionStore(key(saved(cart=["tea"])))
    assert visit["cart"] == ["tea"]
    manager.end_session(key(visit))
    visit.cycle_key()
    assert manager.get_session(key(visit)).data == {"cart": ["tea"]}


def test_an_expiry_that_is_refused_leaves_the_session(manager: SessionManager) -> None:
    session = logged_in(cart=["tea"])
    begun = key(session)
    session.set_expiry(10**9)
    with pytest.raises(ValidationError):
        session.save()
    assert key(session) == begun
    assert manager.get_session(begun).data["cart"] == ["tea"]


def test_a_logout_meanwhile_holds_against_another_expiry(manager: SessionManager) -> None:
    session = logged_in()
    before = manager.get_session_count()
    manager.end_session(key(session))
    session.set_expiry(7200)
    with pytest.raises(UpdateError):
        session.save()
    assert manager.get_session_count() == before - 1


@pytest.mark.parametrize("on_limit", ["evict_oldest", "reject"])
def test_another_expiry_needs_no_second_place(on_limit: str) -> None:
    with (
        Service(max_sessions_per_user=1, on_limit=on_limit) as service,
        SessionManager(**service.options) as manager,
        override_settings(SESSMAN=service.options),
    ):
        session = logged_in(cart=["tea"])
        session.set_expiry(7200)
        session.save()
        assert [each.handle for each in manager.list_sessions()] == [manager.get_session(key(session)).handle]
        assert manager.get_session(key(session)).user_id == "7"
        # Where a login can be refused, its first use is written down, a moment later.
        assert timedelta(seconds=7100) < lifetime(manager, session) <= timedelta(seconds=7200)


@pytest.mark.parametrize("value", ["x" * 300_000, float("nan"), datetime.now()])
@pytest.mark.parametrize("cycles", [True, False])
@override_settings(SESSION_ENGINE="sessman.django", ROOT_URLCONF=__name__)
def test_the_cookie_is_right_after_a_write_that_failed(manager: SessionManager, value: Any, cycles: bool) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        if cycles:
            request.session.cycle_key()
        request.session.update({"_auth_user_id": "7", "kept": value})
        return HttpResponse()

    begun = key(saved(cart=["tea"]))
    request = RequestFactory().get("/", headers={"Host": "127.0.0.1"})
    request.COOKIES[settings.SESSION_COOKIE_NAME] = begun
    answer: Any = convert_exception_to_response(SessionMiddleware(view))(request)
    assert answer.status_code == 500
    cookie = answer.cookies.get(settings.SESSION_COOKIE_NAME)
    assert manager.is_session_active(cookie.value if cookie else begun)
