"""Whether a token was revoked: a bit in a signed list (Token Status List draft), kept as long as the list allows."""

import base64
import time
import zlib
from collections.abc import Callable

from issuer_documents import Documents, Unavailable

MAX_LIST_BYTES = 4 * 1024 * 1024


def is_revoked(claims: dict, issuer: str, documents: Documents, verify: Callable[[str], dict]) -> bool:
    reference = claims.get("status", {}).get("status_list")
    if reference is None:
        return False
    uri, idx = reference["uri"], reference["idx"]
    if not uri.startswith(f"{issuer}/status-lists/"):
        raise ValueError("the token names a list that is not its issuer's")

    def read(text: str) -> tuple[bytes, dict]:
        listed = verify(text)
        if listed["sub"] != uri or listed["status_list"]["bits"] != 1:
            raise ValueError("this is another list")
        packed = base64.urlsafe_b64decode(listed["status_list"]["lst"] + "==")
        return zlib.decompressobj().decompress(packed, MAX_LIST_BYTES), listed

    bits, listed = documents.get(uri, lambda age, kept: age < kept[1]["ttl"], read)
    if time.time() >= listed["exp"]:
        raise Unavailable
    return bits[idx >> 3] >> (idx & 7) & 1 == 1
