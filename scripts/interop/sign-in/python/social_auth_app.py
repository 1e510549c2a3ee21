"""social-auth-core's OpenID Connect backend, as NetBox and Zulip use it, in Flask."""

import os

from flask import Flask, redirect, request, session
from social_core.backends.open_id_connect import OpenIdConnectAuth
from social_core.storage import BaseStorage
from social_core.strategy import BaseStrategy

home = f"http://localhost:{os.environ['PORT']}/"
settings = {
    "SOCIAL_AUTH_OIDC_OIDC_ENDPOINT": os.environ["ISSUER"],
    "SOCIAL_AUTH_OIDC_KEY": os.environ["CLIENT_ID"],
    "SOCIAL_AUTH_OIDC_SECRET": os.environ["CLIENT_SECRET"],
    "SOCIAL_AUTH_OIDC_SCOPE": ["roles", "offline_access"],
}
nonces = set()
app = Flask(__name__)
app.secret_key = os.urandom(32)


class Nonce:
    """Where the library keeps nonces: given out once, accepted once."""

    @classmethod
    def use(cls, server_url, timestamp, salt):
        return nonces.add(salt)

    @classmethod
    def get(cls, server_url, salt):
        return salt if salt in nonces else None

    @classmethod
    def delete(cls, nonce):
        nonces.remove(nonce)


class Association:
    """Where it keeps the nonce of a request that is under way."""

    handles = {}

    def __init__(self, handle="", secret="", issued=0, lifetime=0, assoc_type=""):
        self.handle = self.secret = handle

    @classmethod
    def store(cls, server_url, association):
        cls.handles[association.handle] = association

    @classmethod
    def get(cls, server_url=None, handle=None):
        return [found for name, found in cls.handles.items() if name == handle]

    @classmethod
    def remove(cls, ids_to_delete):
        cls.handles.clear()


class Storage(BaseStorage):
    nonce = Nonce
    association = Association


class Strategy(BaseStrategy):
    def get_setting(self, name):
        return settings[name]

    def request_data(self, merge=True):
        return request.args.to_dict()

    def request_host(self):
        return request.host

    def build_absolute_uri(self, path=None):
        return home.rstrip("/") + (path or "")

    def redirect(self, url):
        return redirect(url)

    def session_get(self, name, default=None):
        return session.get(name, default)

    def session_set(self, name, value):
        session[name] = value

    def session_pop(self, name):
        return session.pop(name, None)

    def authenticate(self, backend, *args, **kwargs):
        return kwargs["response"]


def backend():
    return OpenIdConnectAuth(Strategy(Storage()), redirect_uri=home + "callback")


known = {}


@app.get("/")
def index():
    return "at home"


@app.get("/login")
def login():
    return backend().start()


@app.get("/callback")
def callback():
    used = backend()
    known.update(used.auth_complete())
    return {"access_token": known["access_token"], "claims": {**used.id_token, "email": known["email"]}}


@app.get("/userinfo")
def userinfo():
    return backend().user_data(known["access_token"])


@app.get("/refresh")
def refresh():
    known.update(backend().refresh_token(known["refresh_token"]))
    return {"access_token": known["access_token"]}


app.run("127.0.0.1", int(os.environ["PORT"]))
