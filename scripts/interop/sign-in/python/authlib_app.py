"""Authlib in Flask, told to use PKCE, which it does not by itself."""

import os

from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect

home = f"http://localhost:{os.environ['PORT']}/"
app = Flask(__name__)
app.secret_key = os.urandom(32)
oauth = OAuth(app)
oauth.register(
    "signet",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    server_metadata_url=os.environ["ISSUER"] + "/.well-known/openid-configuration",
    client_kwargs={"scope": "openid profile email roles offline_access", "code_challenge_method": "S256"},
)
token = {}


@app.get("/")
def index():
    return "at home"


@app.get("/login")
def login():
    return oauth.signet.authorize_redirect(home + "callback")


@app.get("/callback")
def callback():
    token.update(oauth.signet.authorize_access_token())
    return {"access_token": token["access_token"], "claims": token["userinfo"]}


@app.get("/userinfo")
def userinfo():
    return oauth.signet.userinfo(token=token)


# As Open WebUI does: the session of the library, which repeats the scope that was asked for.
@app.get("/refresh")
def refresh():
    metadata = oauth.signet.load_server_metadata()
    with oauth.signet._get_oauth_client(**metadata) as session:
        session.token = token
        token.update(session.refresh_token(metadata["token_endpoint"], token["refresh_token"]))
    return {"access_token": token["access_token"]}


@app.get("/logout")
def logout():
    return redirect(home)


app.run("127.0.0.1", int(os.environ["PORT"]))
