"""The API's client: JSON over HTTP, errors in words with what to do about them."""

import json
import urllib.parse
from collections.abc import Callable
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.cli import FAILED, INVALID, CommandError

if TYPE_CHECKING:
    from urllib.error import HTTPError
    from urllib.request import OpenerDirector

TIMEOUT_S = 10
PAGE = 1_000
_INVALID_INPUT = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}


class Client:
    """One controller's API."""

    def __init__(self, url: str, token: str | None = None, ca: Path | None = None) -> None:
        """Talk to ``url``, over https to who shows a certificate of ``ca`` (None: of the system's authorities).

        Raises CommandError when it is no http or https URL, or the token's file cannot be read.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandError(f"--url: {url} is not a URL such as http://127.0.0.1:8080", INVALID)
        self._url = url.rstrip("/")
        self._token = token_of(token)
        self._ca = ca

    @cached_property
    def _opener(self) -> "OpenerDirector":
        from urllib.request import HTTPSHandler, ProxyHandler, build_opener

        # The controller is asked directly: a proxy of the environment is meant for the web.
        direct = ProxyHandler({})
        if not self._url.startswith("https:"):
            return build_opener(direct)
        from ssl import create_default_context

        try:
            return build_opener(direct, HTTPSHandler(context=create_default_context(cafile=self._ca)))
        except OSError as error:
            raise CommandError(f"--ca: {self._ca}: {error.strerror or error}", INVALID) from None

    def get(self, path: str, **query: object) -> Any:
        """Return a document; parameters that are None are left out."""
        given = {name: str(value) for name, value in query.items() if value is not None}
        return self._call("GET", path + (f"?{urllib.parse.urlencode(given)}" if given else ""))

    def text(self, path: str) -> str:
        """Return a document that is no JSON."""
        return str(self._call("GET", path, parse=str))

    def items(self, path: str, limit: int, **query: object) -> list[Any]:
        """Return up to ``limit`` items of a paged list."""
        found: list[Any] = []
        cursor = None
        while len(found) < limit:
            page = self.get(path, **query, limit=min(limit - len(found), PAGE), cursor=cursor)
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        return found

    def send(self, method: str, path: str, body: object = None) -> Any:
        """Send a change; returns the answer's document, None when there is none."""
        return self._call(method, path, {} if body is None and method != "DELETE" else body)

    def _call(self, method: str, path: str, body: object = None, parse: Callable[[str], Any] = json.loads) -> Any:
        from urllib.error import HTTPError
        from urllib.request import Request

        headers = {"Accept": "application/json"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = Request(self._url + path, content, headers, method=method)  # noqa: S310 (checked)
        opener = self._opener
        try:
            with opener.open(request, timeout=TIMEOUT_S) as answer:
                raw = answer.read()
            return parse(raw.decode()) if raw else None
        except HTTPError as error:
            raise self._refusal(error) from None
        except json.JSONDecodeError:
            raise CommandError(f"what answers at {self._url} is not ResetLB (no JSON at {path})") from None
        except (OSError, ValueError) as error:  # URLError is an OSError; http.client's InvalidURL a ValueError
            raise self._unreachable(error) from None

    def _refusal(self, error: "HTTPError") -> CommandError:
        try:
            detail = json.loads(error.read())["detail"]
        except (ValueError, KeyError, TypeError):
            return CommandError(f"what answers at {self._url} is not ResetLB (HTTP {error.code})")
        if error.code == HTTPStatus.UNAUTHORIZED:
            return CommandError(f"{detail}; give one with --token or RESETLB_TOKEN (resetlb token create makes one)")
        return CommandError(str(detail), INVALID if error.code in _INVALID_INPUT else FAILED)

    def _unreachable(self, error: Exception) -> CommandError:
        reason = getattr(error, "reason", error)
        if "CERTIFICATE_VERIFY_FAILED" in str(reason):
            words = getattr(reason, "verify_message", reason)
            return CommandError(
                f"{self._url} shows a certificate that is not trusted ({words}).\n"
                "Name its authority with --ca or RESETLB_CA."
            )
        words = getattr(reason, "strerror", None) or reason
        return CommandError(
            f"no controller answers at {self._url} ({words}).\n"
            "Start one with: resetlb run --policy FILE\n"
            "or name the one that runs with --url or RESETLB_URL."
        )


def token_of(text: str | None) -> str | None:
    """Return a token that was given, or that stands in the file after an @; raises CommandError."""
    if text is None or not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise CommandError(f"--token: {text[1:]}: {reason}", INVALID) from None
