"""Answers who has an access token of the issuer for this API: verified offline, with joserfc."""

import json
import os
from contextlib import suppress
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from joserfc import errors, jwk, jws, jwt

from issuer_documents import Documents
from revocation import is_revoked

ISSUER = os.environ.get("ISSUER", "http://localhost:3000")
AUDIENCE = os.environ.get("AUDIENCE", "https://orders.example.com")
KEYS_SECONDS = float(os.environ.get("KEYS_SECONDS", "300"))  # how long a revoked key may still be believed
REQUIRED = {"essential": True}
both = {"leeway": 5, "iss": {"essential": True, "value": ISSUER}, "exp": REQUIRED, "iat": REQUIRED}
access_token = jwt.JWTClaimsRegistry(
    **both, aud={"essential": True, "value": AUDIENCE}, sub=REQUIRED, client_id=REQUIRED, jti=REQUIRED)
status_list = jwt.JWTClaimsRegistry(**both)
documents = Documents()


def key_set(max_age: float) -> jwk.KeySet:
    return documents.get(f"{ISSUER}/jwks", lambda age, _: age < max_age,
                         lambda text: jwk.KeySet.import_key_set(json.loads(text)))


def verify(token: str, typ: str, expected: jwt.JWTClaimsRegistry) -> dict:
    # An ID token has the same issuer and the same keys: only its type tells. (RFC 9068 §4)
    header = jws.extract_compact(token.encode()).headers()
    if str(header.get("typ")).lower() not in (typ, f"application/{typ}"):
        raise errors.JoseError("this is not the type of token that is wanted here")
    keys = key_set(KEYS_SECONDS)
    if all(key.kid != header.get("kid") for key in keys):
        keys = key_set(5)  # anybody can make up a key id: it causes a request in 5 seconds and no more
    claims = jwt.decode(token, keys, algorithms=["RS256"]).claims
    expected.validate(claims)
    return claims


def bearer(authorization: Annotated[str, Header()] = "") -> dict:
    scheme, _, token = authorization.partition(" ")
    with suppress(errors.JoseError, ValueError):
        claims = verify(token if scheme.lower() == "bearer" else "", "at+jwt", access_token)
        if not is_revoked(claims, ISSUER, documents, lambda token: verify(token, "statuslist+jwt", status_list)):
            return claims
    raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


app = FastAPI()


@app.get("/orders")
def orders(claims: Annotated[dict, Depends(bearer)]):
    if "orders:read" not in claims.get("scope", "").split():
        raise HTTPException(403, headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'})
    return {"person": claims["sub"], "orders": []}
