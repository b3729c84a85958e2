"""What stands before every request: whose it is, whether it may ask, and how the browser is told.

The page is for who started it. Other pages in the same browser must not reach it (Host, Origin),
other machines only with the token, and the answers name no other place that may run code.
"""

import hashlib
import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
METHODS = ("GET", "HEAD", "POST")


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask.

    Args:
        host: The address or name that the server is bound to.
        token: What must be shown once, in the address; "" where nobody else can connect.
    """

    host: str
    token: str = field(default="", repr=False)

    def knows_host(self, value: str) -> bool:
        """Whether a ``Host`` is an address, or a name that is this machine's for sure.

        A name of somebody else's that resolves to this machine is DNS rebinding.

        >>> access = Access(host="127.0.0.1")
        >>> [access.knows_host(h) for h in ("127.0.0.1:80", "localhost", "[::1]:80", "evil.com")]
        [True, True, True, False]
        """
        try:
            name = urlsplit(f"//{value}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self.host.lower()) or (is_address(name) and is_loopback(name)):
            return True
        # Beyond this machine the token decides, which another name's page has no cookie of.
        own = is_address(name) or name == socket.gethostname().lower()
        return own and not is_loopback(self.host)

    @property
    def cookie(self) -> str:
        """Name of the cookie, which other servers of this machine do not share."""
        return f"ssl_dml_{hashlib.sha256(self.token.encode()).hexdigest()[:8]}"

    def admits(self, shown: str) -> bool:
        """Whether a token is the right one, in a time that does not tell how much of it is."""
        return hmac.compare_digest(shown.encode(), self.token.encode())


def new_token() -> str:
    """A token of 192 random bits."""
    return secrets.token_urlsafe(24)


def is_address(host: str) -> bool:
    """Whether it is a number of IPv4 or IPv6, which no name server can turn."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to it.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "pc.local")]
    [True, True, True, False, False]
    """
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def own(origins: list[str], host: str) -> bool:
    """Whether a page of this server asks: browsers say at each POST whose page it was.

    >>> [own([o], "pc:80") for o in ("http://pc:80", "http://evil.com", "null")]
    [True, False, False]
    """
    return origins in ([f"http://{host}"], [f"https://{host}"])


def refusal(status: int, sentence: str, **headers: str) -> Response:
    """An error as one sentence, after which the connection is closed."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse({"error": sentence}, status, {"Connection": "close", **headers})


class Guard:
    """Refuse what may not ask, before a byte of its body is read, and add headers to the rest.

    Args:
        app: What answers.
        access: Who may ask.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the app answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SAFE)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await (self._refused(scope) or self.app)(scope, receive, safely)

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self.access.knows_host(hosts[0]):
            return refusal(421, "This name is not of this server; use the address that it printed.")
        if scope["method"] not in METHODS:
            return refusal(405, "There is nothing to be done that way.", Allow=", ".join(METHODS))
        if scope["method"] == "POST" and not own(origins, hosts[0]):
            return refusal(403, "Only the page of this server may ask that.")
        return self._without_token(scope, headers) if self.access.token else None

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse who has not shown the token; who shows it in the address keeps it as a cookie."""
        shown = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and shown and self.access.admits(shown):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self.access.cookie, shown, httponly=True, samesite="lax")
            return answer
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.access.cookie)
        except CookieError:
            cookie = None
        if cookie is not None and self.access.admits(cookie.value):
            return None
        return refusal(401, "The token is missing or wrong; use the address that was printed.")
