"""Documents of the issuer, kept: asked for again when they are no longer fresh, served on while the issuer is away."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
from fastapi import HTTPException

RETRY_SECONDS = 5
LAST_KNOWN_GOOD_SECONDS = 24 * 3600


class Unavailable(HTTPException):
    """The issuer cannot be reached, and what is here is too old: nobody can tell, so nobody is let in."""

    def __init__(self) -> None:
        super().__init__(503, headers={"Retry-After": str(RETRY_SECONDS)})


class Documents:
    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Any]] = {}
        self._retry_at: dict[str, float] = {}
        self._lock = threading.RLock()  # reading a status list reads keys

    def get(self, url: str, fresh: Callable[[float, Any], bool], read: Callable[[str], Any]) -> Any:
        """What `read` made of the text at `url`; `fresh(age in seconds, document)` says whether that will do."""
        with self._lock:
            now = time.monotonic()
            at, document = self._kept.get(url, (-LAST_KNOWN_GOOD_SECONDS, None))
            is_fresh = document is not None and fresh(now - at, document)
            if not is_fresh and now >= self._retry_at.get(url, 0):
                try:
                    at, document = now, read(httpx.get(url, timeout=5).raise_for_status().text)
                    self._kept[url] = (at, document)
                except Exception:  # whatever is wrong with the answer, the last good one serves
                    self._retry_at[url] = now + RETRY_SECONDS
            if document is None or now - at > LAST_KNOWN_GOOD_SECONDS:
                raise Unavailable
            return document
