"""Requests to web services."""

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from awfe import checks
from awfe.domain.context import Context
from awfe.domain.secret import Secret
from awfe.domain.step import BaseStep
from awfe.errors import InvalidInput
from awfe.steps import given
from awfe.steps.failed import HttpFailed, needs
from awfe.steps.templates import Parts, Place, fill, parse, text_of, value_of

if TYPE_CHECKING:
    import httpx2

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_URL = re.compile(r"https?://([^/?#\s\\]+)\S*", re.IGNORECASE)
_STATUS = re.compile(r"[1-5]xx")
_SAFE = ("GET", "HEAD")
_IDEMPOTENCY = "Idempotency-Key"
_MAX_REDIRECTS = 10
_SHOWN = 2_000
_KIBIBYTES_256 = 262_144


@dataclass
class Http(BaseStep, name="awfe.Http"):
    """Makes one HTTP request, and saves the answer under `save_as`: `{"status": …, "json": …}`, or `"text"`.

    `{name}` is put in from the context: percent-encoded in the URL, as it is in `params`, `headers`, `body` and the
    strings of `json`. `expect` is the status that is no failure: a number, `"2xx"`, or a list. Every request has the
    step's key as its Idempotency-Key; a header of yours of that name takes its place. `max_silence` is in seconds, for
    connecting and for each wait for data; for the whole request there is the policy `timeout`. Redirects are followed
    for GET and HEAD, or as `redirects` says, and never to another origin. Certificates are always checked; `ca_file`
    is a PEM file of those that are trusted, instead of the system's. Needs the extra `http`. Raises `InvalidInput` for
    what makes no sense, `HttpFailed` for what fails.
    """

    method: str
    url: str
    json: Any = field(default=None, kw_only=True)
    body: str | Secret | None = field(default=None, kw_only=True)
    headers: dict[str, str | Secret] = field(default_factory=dict, kw_only=True)
    params: dict[str, str | Secret] = field(default_factory=dict, kw_only=True)
    expect: int | str | list[int | str] = field(default="2xx", kw_only=True)
    save_as: str | None = field(default=None, kw_only=True)
    redirects: bool | None = field(default=None, kw_only=True)
    max_silence: float = field(default=30.0, kw_only=True)
    max_body: int = field(default=_KIBIBYTES_256, kw_only=True)
    ca_file: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what no request can be made of."""
        self.method = _method(self.method)
        _check_url(self.url)
        if self.json is not None and self.body is not None:
            msg = "json and body: give one of them"
            raise InvalidInput(msg)
        _json(self.json, lambda _: None)
        if self.body is not None:
            parse(self.body, "body")
        for what in ("headers", "params"):
            _check_texts(what, getattr(self, what))
        _check_headers(self.headers)
        self._check_expect()
        given.key("save_as", self.save_as)
        if self.redirects is not None:
            checks.flag("redirects", self.redirects)
        given.seconds("max_silence", self.max_silence)
        checks.whole("max_body", self.max_body)
        checks.text("ca_file", self.ca_file)

    def _check_expect(self) -> None:
        expected: list[Any] = self._expected or [None]
        for status in expected:
            number = type(status) is int and 100 <= status <= 599  # noqa: PLR2004 - the statuses that there are
            if not number and not (isinstance(status, str) and _STATUS.fullmatch(status)):
                msg = f'expect={self.expect!r:.60}: give a status, a class of them such as "2xx", or a list of these'
                raise InvalidInput(msg)

    @property
    def _expected(self) -> list[int | str]:
        return self.expect if isinstance(self.expect, list) else [self.expect]

    async def work(self, ctx: Context) -> None:
        """Make the request."""
        try:
            import httpx2  # noqa: PLC0415 - an extra, and only this step needs it
        except ModuleNotFoundError as error:
            raise needs(error, "http") from error
        headers = {name: fill(parse(text, name), ctx) for name, text in self.headers.items()}
        if not any(name.lower() == _IDEMPOTENCY.lower() for name in headers):
            headers[_IDEMPOTENCY] = ctx.step.key
        _check_headers(headers)
        url = _filled_url(self.url, ctx)
        content: dict[str, Any] = {}
        if self.json is not None:
            content["json"] = _json(self.json, lambda parts: value_of(parts, ctx))
        elif self.body is not None:
            content["content"] = fill(parse(self.body, "body"), ctx)
        if self.params:
            content["params"] = {name: fill(parse(text, name), ctx) for name, text in self.params.items()}
        about = f"{self.method} {_shown_url(url)}"
        try:
            async with httpx2.AsyncClient(timeout=self.max_silence, verify=_trusted(self.ca_file)) as client:
                request = client.build_request(self.method, url, headers=headers, **content)
                status, answer = await self._ask(client, request, about)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            msg = f"{about}: {reason}"
            raise HttpFailed(msg) from error
        ctx.output(f"{about}: {status}\n")
        if self.save_as is not None:
            ctx[self.save_as] = {"status": status, **answer}

    async def _ask(self, client: "httpx2.AsyncClient", request: "httpx2.Request", about: str) -> tuple[int, Any]:
        follows = self.method in _SAFE if self.redirects is None else self.redirects
        for _ in range(_MAX_REDIRECTS + 1):
            response = await client.send(request, stream=True)
            try:
                following = response.next_request if follows else None
                if following is None:
                    return response.status_code, await self._answer(response, about)
            finally:
                await response.aclose()
            if not _same_origin(request.url, following.url):
                # It would be given the headers and the body, and nobody has said that it may have them.
                msg = f"{about}: not followed to another origin, {_shown_url(str(following.url))}; ask that one"
                raise HttpFailed(msg, response.status_code)
            request = following
        msg = f"{about}: more than {_MAX_REDIRECTS} redirects"
        raise HttpFailed(msg)

    async def _answer(self, response: "httpx2.Response", about: str) -> dict[str, Any]:
        status = response.status_code
        expected = status in self._expected or f"{status // 100}xx" in self._expected
        limit = self.max_body if expected else min(self.max_body, 4 * _SHOWN)
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > limit:
                break
        text = bytes(body[:limit]).decode(response.charset_encoding or "utf-8", "replace")
        if not expected:
            shown = f": {text[:_SHOWN]}{'…' * (len(text) > _SHOWN)}" if text.strip() else ""
            msg = f"{about} answered {status} {_reason(response)}{shown}"
            raise HttpFailed(msg, status)
        if self.save_as is None:
            return {}
        if len(body) > limit:
            msg = f"{about} answered {status} with more than max_body={limit} bytes"
            raise HttpFailed(msg, status)
        return _read(response.headers.get("content-type", ""), bytes(body), text, about)


def _trusted(ca_file: str | None) -> ssl.SSLContext | bool:
    """Return what checks certificates; True is the system's."""
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=Path(ca_file).expanduser())
    except OSError as error:
        msg = f"ca_file={ca_file!r}: {error.strerror or error}; give a file of certificates in PEM"
        raise InvalidInput(msg) from error


def _read(content_type: str, body: bytes, text: str, about: str) -> dict[str, Any]:
    kind = content_type.partition(";")[0].strip().lower()
    if not body or not (kind == "application/json" or kind.endswith("+json")):
        return {"text": text}
    try:
        return {"json": msgspec.json.decode(body)}
    except msgspec.DecodeError as error:
        msg = f"{about} answered what should be JSON and is not: {error}; it begins with {text[:200]!r}"
        raise HttpFailed(msg) from error


def _reason(response: "httpx2.Response") -> str:
    try:
        return response.reason_phrase or HTTPStatus(response.status_code).phrase
    except ValueError:
        return ""


def _method(method: Any) -> str:
    if not isinstance(method, str) or not _TOKEN.fullmatch(method):
        msg = f"method={method!r:.60}: give one such as GET or POST"
        raise InvalidInput(msg)
    return method.upper()


def _check_url(url: Any) -> None:
    found = _URL.fullmatch(url) if isinstance(url, str) and url.isprintable() else None
    _, at, host = found[1].rpartition("@") if found else ("", "", "")
    if at:
        msg = f"the url of {host!r:.100} has a user or a password in it, which would be saved; use headers"
        raise InvalidInput(msg)
    if not host:
        msg = f"url={url!r:.200}: give an address that begins with http:// or https://"
        raise InvalidInput(msg)
    parse(url, "url")


def _filled_url(url: str, ctx: Context) -> str:
    made = ""
    for part in parse(url, "url"):
        text = text_of(part, ctx)
        if not text:
            msg = f"url={url!r}: a value for it is empty, so it would mean something else"
            raise InvalidInput(msg)
        made += quote(text, safe="") if isinstance(part, Place) else text
    if {".", ".."} & set(urlsplit(made).path.split("/")):
        msg = f"url={url!r}: a part of the path is '.' or '..', so it would lead elsewhere"
        raise InvalidInput(msg)
    return made


def _shown_url(url: str) -> str:
    """Return an address without what may be secret."""
    return url.partition("?")[0].partition("#")[0]


def _same_origin(one: "httpx2.URL", other: "httpx2.URL") -> bool:
    upgraded = (one.scheme, one.port, other.scheme, other.port) == ("http", None, "https", None)
    return one.host == other.host and (upgraded or (one.scheme, one.port) == (other.scheme, other.port))


def _check_texts(what: str, texts: Any) -> None:
    if not isinstance(texts, dict):
        msg = f"{what}={texts!r:.60}: give a dict of names to texts"
        raise InvalidInput(msg)
    for name, text in texts.items():
        if not isinstance(name, str) or not isinstance(text, str | Secret):
            msg = f"{what}[{name!r:.60}]={text!r:.60}: give a str, or a Secret"
            raise InvalidInput(msg)
        parse(text, f"{what}[{name!r:.60}]")


def _json(given: Any, put: Callable[[Parts], Any]) -> Any:
    """Return JSON with something in place of each text; keys are no templates."""
    if isinstance(given, list):
        return [_json(item, put) for item in given]
    if isinstance(given, dict):
        return {key: _json(item, put) for key, item in given.items()}
    return put(parse(given, "json")) if isinstance(given, str | Secret) else given


def _check_headers(headers: Mapping[str, str | Secret]) -> None:
    for name, given_text in headers.items():
        text = given_text if isinstance(given_text, str) else ""
        if not _TOKEN.fullmatch(name):
            problem = "that is no name of a header"
        elif any(character in "\r\n\0" for character in text):
            problem = "its value has a line break or NUL, and would be more than one header"
        elif not text.isascii():
            problem = "its value has a character that is not ASCII"
        else:
            continue
        msg = f"headers[{name!r:.60}]: {problem}"
        raise InvalidInput(msg)
