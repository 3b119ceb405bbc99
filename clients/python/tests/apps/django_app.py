"""A shop in Django: a cart for everybody, a page for those who are logged in."""

import json
import os
import tempfile
from pathlib import Path

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "shop.example"],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(tempfile.mkdtemp()) / "users.db"},
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["sessman.django.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.urandom(32).hex(),
    SESSION_ENGINE="sessman.django",
    SESSMAN={"base_url": os.environ["SESSMAN_URL"], "api_key": os.environ["SESSMAN_KEY"], "timeout": 60},
    USE_TZ=True,
)
django.setup()

from django.contrib import auth  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


def cart(request: HttpRequest) -> JsonResponse:
    """Show the cart, or put something into it."""
    if request.method == "POST":
        request.session["cart"] = [*request.session.get("cart", []), json.loads(request.body)["item"]]
    return JsonResponse({"cart": request.session.get("cart", [])})


def login(request: HttpRequest) -> JsonResponse:
    """Log in; a real shop asks for a password here."""
    user, _ = User.objects.get_or_create(username=json.loads(request.body)["user"])
    auth.login(request, user, "django.contrib.auth.backends.ModelBackend")
    return me(request)


def me(request: HttpRequest) -> JsonResponse:
    """Say who is logged in."""
    if not request.user.is_authenticated:
        return JsonResponse({"detail": "log in first"}, status=401)
    return JsonResponse({"user": request.user.get_username()})


def logout(request: HttpRequest) -> JsonResponse:
    """End the session."""
    auth.logout(request)
    return JsonResponse({"ok": True})


def about(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Answer without a look at the session."""
    return JsonResponse({"about": "a shop"})


urlpatterns = [
    path("cart", cart),
    path("login", login),
    path("me", me),
    path("logout", logout),
    path("about", about),
]
call_command("migrate", verbosity=0)
application = WSGIHandler()
