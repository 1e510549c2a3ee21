"""django-allauth's OpenID Connect provider, as Paperless-ngx uses it."""

import os

from django.http import JsonResponse
from django.shortcuts import redirect
from django.urls import include, path
from django_app import configure, serve

signet = {
    "provider_id": "signet", "name": "Signet",
    "client_id": os.environ["CLIENT_ID"], "secret": os.environ["CLIENT_SECRET"],
    "settings": {"server_url": os.environ["ISSUER"]},
}
configure(
    ["allauth", "allauth.account", "allauth.socialaccount", "allauth.socialaccount.providers.openid_connect"],
    "allauth.account.auth_backends.AuthenticationBackend",
    MIDDLEWARE=["allauth.account.middleware.AccountMiddleware"],
    ACCOUNT_EMAIL_VERIFICATION="none",
    SOCIALACCOUNT_LOGIN_ON_GET=True,
    SOCIALACCOUNT_STORE_TOKENS=True,
    SOCIALACCOUNT_PROVIDERS={"openid_connect": {
        "SCOPE": ["openid", "profile", "email", "roles"], "OAUTH_PKCE_ENABLED": True, "APPS": [signet],
    }},
)

from allauth.socialaccount.models import SocialAccount, SocialToken  # noqa: E402


def known(request):
    account = SocialAccount.objects.get()
    claims = {**account.extra_data["id_token"], "email": account.user.email}
    return JsonResponse({"access_token": SocialToken.objects.get().token, "claims": claims})


serve(
    path("login", lambda request: redirect("/accounts/oidc/signet/login/")), path("known", known),
    path("accounts/", include("allauth.urls")),
)
