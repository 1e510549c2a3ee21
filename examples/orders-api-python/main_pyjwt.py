"""Answers who has an access token of the issuer for this API: verified offline, with PyJWT."""

import os
from contextlib import suppress
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException

from issuer_documents import Documents, Unavailable
from revocation import is_revoked

ISSUER = os.environ.get("ISSUER", "http://localhost:3000")
AUDIENCE = os.environ.get("AUDIENCE", "https://orders.example.com")
KEYS_SECONDS = float(os.environ.get("KEYS_SECONDS", "300"))  # how long a revoked key may still be believed

# A key id that is not known causes a request, at most one in cooldown_duration: anybody can make one up.
keys = jwt.PyJWKClient(f"{ISSUER}/jwks", lifespan=KEYS_SECONDS, cooldown_duration=5, timeout=5)
documents = Documents()


def verify(token: str, typ: str, audience: str | None, required: list[str]) -> dict:
    # An ID token has the same issuer and the same keys: only its type tells. (RFC 9068 §4)
    header = jwt.get_unverified_header(token)
    if str(header.get("typ")).lower() not in (typ, f"application/{typ}"):
        raise jwt.InvalidTokenError("this is not the type of token that is wanted here")
    try:
        key = keys.get_signing_key(header.get("kid"))
    except jwt.PyJWKClientConnectionError as error:
        raise Unavailable from error
    return jwt.decode(
        token, key, algorithms=["RS256"], issuer=ISSUER, audience=audience, leeway=5,
        options={"require": ["iss", "exp", "iat", *required], "verify_aud": audience is not None})


def bearer(authorization: Annotated[str, Header()] = "") -> dict:
    scheme, _, token = authorization.partition(" ")
    with suppress(jwt.PyJWTError, ValueError):
        token = token if scheme.lower() == "bearer" else ""
        claims = verify(token, "at+jwt", AUDIENCE, ["aud", "sub", "client_id", "jti"])
        if not is_revoked(claims, ISSUER, documents, lambda token: verify(token, "statuslist+jwt", None, [])):
            return claims
    raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


app = FastAPI()


@app.get("/orders")
def orders(claims: Annotated[dict, Depends(bearer)]):
    if "orders:read" not in claims.get("scope", "").split():
        raise HTTPException(403, headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'})
    return {"person": claims["sub"], "orders": []}
