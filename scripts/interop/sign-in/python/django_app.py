"""What the Django applications share: settings that fit in one file, a database in memory, and the server."""

import os
import sys

import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpResponse
from django.urls import path

home = f"http://localhost:{os.environ['PORT']}/"
urlpatterns = [path("", lambda request: HttpResponse("at home"))]


def configure(apps, backend, **more):
    """To be called before any model is imported."""
    settings.configure(
        SECRET_KEY=os.urandom(32).hex(),
        ALLOWED_HOSTS=["localhost"],
        ROOT_URLCONF="django_app",
        DEBUG=True,
        LOGGING_CONFIG=None,
        LOGIN_REDIRECT_URL="/known",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", *apps],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            *more.pop("MIDDLEWARE", []),
        ],
        TEMPLATES=[{
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }],
        AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.ModelBackend", backend],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "django.sqlite3"}},
        **more,
    )
    sys.modules["django_app"] = sys.modules[__name__]
    django.setup()
    call_command("migrate", verbosity=0)


def serve(*paths):
    urlpatterns.extend(paths)
    call_command("runserver", f"127.0.0.1:{os.environ['PORT']}", use_reloader=False)
