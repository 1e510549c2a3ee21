"""social-auth-core with its Django application, as NetBox and Zulip use it."""

import os

from django.http import JsonResponse
from django.urls import include, path
from django_app import configure, home, serve

configure(
    ["social_django"], "social_core.backends.open_id_connect.OpenIdConnectAuth",
    SOCIAL_AUTH_OIDC_OIDC_ENDPOINT=os.environ["ISSUER"],
    SOCIAL_AUTH_OIDC_KEY=os.environ["CLIENT_ID"],
    SOCIAL_AUTH_OIDC_SECRET=os.environ["CLIENT_SECRET"],
    SOCIAL_AUTH_OIDC_SCOPE=["roles", "offline_access"],
)

from social_core.actions import do_auth  # noqa: E402
from social_django.models import UserSocialAuth  # noqa: E402
from social_django.utils import load_backend, load_strategy  # noqa: E402


# The button of a page posts to /login/oidc/; here a link does the same.
def login(request):
    return do_auth(load_backend(load_strategy(request), "oidc", redirect_uri=home + "complete/oidc/"))


def known(request):
    social = UserSocialAuth.objects.get()
    claims = {"sub": social.uid, "email": social.user.email}
    return JsonResponse({"access_token": social.extra_data["access_token"], "claims": claims})


def refresh(request):
    UserSocialAuth.objects.get().refresh_token(load_strategy(request))
    return JsonResponse({"access_token": UserSocialAuth.objects.get().extra_data["access_token"]})


serve(
    path("login", login), path("known", known), path("refresh", refresh),
    path("", include("social_django.urls", namespace="social")),
)
