"""Runs Django's own tests of session engines against ours: `python django_suite.py FOLDER`.

FOLDER is the one with the tests of Django's source distribution, with `sessions_tests` in it.
"""

import sys
import unittest
from importlib import import_module
from typing import Any

import django
from django.conf import settings
from service import Service

# Tests that cannot be asked of us, and why.
LEFT_OUT = {"test_empty_session_saved": "reads the session from Django's own table"}

sys.path.insert(0, sys.argv[1])


def run(service: Service) -> bool:
    """Run them; say whether all passed."""
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "sessions_tests",
        ],
        SECRET_KEY="for tests alone",
        SESSION_ENGINE="sessman.django",
        SESSMAN=service.options,
        USE_TZ=True,
    )
    django.setup()
    from django.test import SimpleTestCase
    from django.test.runner import DiscoverRunner

    from sessman.django import SessionMiddleware, SessionStore

    tests: Any = import_module("sessions_tests.tests")
    # Django's tests of its middleware are to run with ours.
    tests.SessionMiddleware = SessionMiddleware

    class Engine(tests.SessionTestsMixin, SimpleTestCase):  # type: ignore[misc]
        backend = SessionStore

    class Middleware(tests.SessionMiddlewareTests):  # type: ignore[misc]
        pass

    runner = DiscoverRunner(verbosity=1)
    runner.setup_test_environment()
    databases = runner.setup_databases()
    suite = unittest.TestSuite()
    for case in (Engine, Middleware):
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(case):
            name: Any = getattr(test, "_testMethodName", "")
            if name in LEFT_OUT:
                print(f"left out: {name}, which {LEFT_OUT[name]}")
            else:
                suite.addTest(test)
    result = runner.run_suite(suite)
    runner.teardown_databases(databases)
    runner.teardown_test_environment()
    print(f"{result.testsRun} of Django's tests ran, {len(result.skipped)} skipped")
    return result.wasSuccessful() and not result.skipped


with Service() as service:
    sys.exit(0 if run(service) else 1)
