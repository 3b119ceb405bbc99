"""The shop in Django, served asynchronously."""

import django_app  # noqa: F401
from django.core.handlers.asgi import ASGIHandler

application = ASGIHandler()
