"""Http without an engine, against a web server on the loopback."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from awfe import Context, InvalidInput
from awfe.domain import step as steps
from awfe.steps import Http
from awfe.steps.failed import Failed, HttpFailed
from tests.web import Web, certificate, serving


@pytest.fixture
async def web(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Web]:
    """Yield a server, that is asked without a proxy."""
    monkeypatch.setenv("NO_PROXY", "*")
    async with serving() as server:
        yield server


async def test_values_are_put_in_and_stay_in_their_places(web: Web) -> None:
    hostile = "a/../b?x=1#y&z %41é\r\n"
    ctx = Context({"id": hostile, "n": 7, "tags": ["x"], "who": "ada"})
    step = Http(
        "post",
        f"{web.url}/hosts/{{id}}/on",
        json={"name": "{id}", "count": "{n}", "tags": "{tags}", "text": "n={n} {{n}}", "raw": 1.5},
        headers={"X-Actor": "by {who}"},
        params={"q": "{id}"},
        save_as="answer",
    )
    await step.work(ctx)
    asked = web.asked[0]
    encoded = "a%2F..%2Fb%3Fx%3D1%23y%26z%20%2541%C3%A9%0D%0A"
    assert asked.target.partition("?")[0] == f"/hosts/{encoded}/on"
    assert asked.target.count("&") == asked.target.count("#") == 0
    assert asked.headers["x-actor"] == "by ada"
    assert asked.headers["idempotency-key"] == ctx.step.key
    told = ctx["answer"]
    assert (told["status"], told["json"]["method"]) == (200, "POST")
    assert asked.body.startswith(b'{"name":"a/../b?x=1#y&z %41')
    assert asked.body.endswith(b'"count":7,"tags":["x"],"text":"n=7 {n}","raw":1.5}')


async def test_a_text_is_saved_as_a_text_and_an_own_idempotency_key_is_kept(web: Web) -> None:
    web.answers["/plain"] = (201, {"Content-Type": "text/plain; charset=latin-1"}, "gr\xfcn".encode("latin-1"))
    ctx = Context({"who": "ada"})
    await Http(
        "PUT", f"{web.url}/plain", body="for {who}", headers={"idempotency-key": "mine"}, expect=201, save_as="a"
    ).work(ctx)
    assert ctx["a"] == {"status": 201, "text": "grün"}
    assert (web.asked[0].body, web.asked[0].headers["idempotency-key"]) == (b"for ada", "mine")
    web.answers["/empty"] = (204, {}, b"")
    await Http("DELETE", f"{web.url}/empty", save_as="a").work(ctx)
    assert ctx["a"] == {"status": 204, "text": ""}
    await Http("GET", f"{web.url}/empty").work(ctx := Context())
    assert dict(ctx) == {}


async def test_an_unexpected_status_says_what_was_answered(web: Web) -> None:
    web.answers["/broken"] = (503, {}, b"the pool is empty" + b"x" * 100_000)
    with pytest.raises(HttpFailed, match=r"^GET http://127\.0\.0\.1:\d+/broken answered 503 Because: the") as raised:
        await Http("GET", f"{web.url}/broken?token=s3cret").work(Context())
    assert raised.value.status == 503
    assert len(str(raised.value)) < 2_200
    assert "s3cret" not in str(raised.value)
    expected: list[Any] = [503, "5xx", [200, "5xx"]]
    for expect in expected:
        await Http("GET", f"{web.url}/broken", expect=expect).work(Context())
    with pytest.raises(HttpFailed, match="answered 200"):
        await Http("GET", f"{web.url}/x", expect=[404, "5xx"]).work(Context())


async def test_an_answer_that_is_too_large_or_no_json_is_refused(web: Web) -> None:
    web.answers["/large"] = (200, {}, b"x" * 1_001)
    with pytest.raises(HttpFailed, match="more than max_body=1000 bytes"):
        await Http("GET", f"{web.url}/large", save_as="a", max_body=1_000).work(Context())
    await Http("GET", f"{web.url}/large", save_as="a", max_body=1_001).work(ctx := Context())
    assert len(ctx["a"]["text"]) == 1_001
    web.answers["/html"] = (200, {"Content-Type": "application/problem+json"}, b"<html>")
    with pytest.raises(HttpFailed, match="should be JSON and is not"):
        await Http("GET", f"{web.url}/html", save_as="a").work(Context())


async def test_redirects_are_followed_for_get_at_the_same_origin_only(web: Web) -> None:
    web.answers["/old"] = (302, {"Location": "/new"}, b"")
    web.answers["/loop"] = (307, {"Location": "/loop"}, b"")
    web.answers["/away"] = (302, {"Location": f"http://localhost:{web.port}/new?token=s3cret"}, b"")
    await Http("GET", f"{web.url}/old", save_as="a").work(ctx := Context())
    assert ctx["a"]["json"]["target"] == "/new"
    with pytest.raises(HttpFailed, match="answered 302"):
        await Http("POST", f"{web.url}/old").work(Context())
    with pytest.raises(HttpFailed, match="answered 302"):
        await Http("GET", f"{web.url}/old", redirects=False).work(Context())
    await Http("POST", f"{web.url}/old", redirects=True, save_as="a").work(ctx)
    assert ctx["a"]["json"]["method"] == "GET"
    with pytest.raises(HttpFailed, match="more than 10 redirects"):
        await Http("GET", f"{web.url}/loop").work(Context())
    before = len(web.asked)
    with pytest.raises(HttpFailed, match=r"not followed to another origin, http://localhost:\d+/new; ask"):
        await Http("GET", f"{web.url}/away").work(Context())
    assert len(web.asked) == before + 1


async def test_what_does_not_answer_is_named(web: Web) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(HttpFailed, match=rf"^GET http://127\.0\.0\.1:{port}/x: ConnectError"):
            await Http("GET", f"http://127.0.0.1:{port}/x?token=s3cret").work(Context())
    forever = asyncio.Event()
    web.answers["/silent"] = forever.wait
    with pytest.raises(HttpFailed, match="Timeout"):
        await Http("GET", f"{web.url}/silent", max_silence=0.05).work(Context())
    web.answers["/as%20silent"] = web.answers["/silent"]
    task = asyncio.create_task(Http("GET", f"{web.url}/as%20silent").work(Context()))
    while web.asked[-1:] == [] or web.asked[-1].target != "/as%20silent":
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    forever.set()


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ({}, {}, r"\{id\}.* no "),
        ({"id": ""}, {}, "is empty"),
        ({"id": ".."}, {}, "'.' or '..'"),
        ({"id": "x", "v": "a\r\nX-Evil: 1"}, {"headers": {"X": "{v}"}}, "more than one header"),
        ({"id": "x", "v": "é"}, {"headers": {"X": "{v}"}}, "not ASCII"),
        ({"id": "x"}, {"json": {"a": ["{v}"]}}, r"\{v\}"),
    ],
)
async def test_values_that_do_not_fit_are_refused_before_anything_is_sent(
    web: Web, values: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        await Http("GET", f"{web.url}/{{id}}/x", **options).work(Context(values))
    assert web.asked == []


@pytest.mark.parametrize(
    ("method", "url", "options", "message"),
    [
        ("GET", "https://ada:s3cret@host/x", {}, r"'host' has a user or a password"),
        ("GET", "ftp://host/x", {}, "begins with http"),
        ("GET", "http://", {}, "begins with http"),
        ("GET", "http://a b/", {}, "begins with http"),
        ("GET", None, {}, "begins with http"),
        ("GET", "http://a\nb/", {}, "begins with http"),
        ("G ET", "http://a/", {}, "method="),
        (None, "http://a/", {}, "method="),
        ("GET", "http://a/", {"json": {}, "body": ""}, "one of them"),
        ("GET", "http://a/", {"body": [3]}, "body="),
        ("GET", "http://a/", {"headers": {"X Y": "a"}}, "no name of a header"),
        ("GET", "http://a/", {"headers": {"X": "a\n"}}, "line break"),
        ("GET", "http://a/", {"headers": {"X": 1}}, "give a str, or a Secret"),
        ("GET", "http://a/", {"params": []}, "a dict of names"),
        ("GET", "http://a/", {"expect": "ok"}, "expect='ok'"),
        ("GET", "http://a/", {"expect": 99}, "expect=99"),
        ("GET", "http://a/", {"expect": []}, "expect="),
        ("GET", "http://a/", {"expect": True}, "expect=True"),
        ("GET", "http://a/", {"redirects": 1}, "redirects=1"),
        ("GET", "http://a/", {"max_silence": -1}, "max_silence"),
        ("GET", "http://a/", {"max_silence": None}, "max_silence"),
        ("GET", "http://a/", {"max_body": 0}, "max_body"),
        ("GET", "http://a/", {"save_as": ""}, "save_as"),
        ("GET", "http://a/{x", {}, "begins or ends no"),
        ("GET", "http://a/", {"json": ["{"]}, "begins or ends no"),
        ("GET", "http://a/", {"body": "{"}, "begins or ends no"),
        ("GET", "http://a/", {"headers": {"X": "{"}}, "begins or ends no"),
    ],
)
def test_what_makes_no_sense_is_refused(method: Any, url: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as raised:
        Http(method, url, **options)
    assert "s3cret" not in str(raised.value)


def test_it_is_saved_as_it_was_given() -> None:
    made = Http("GET", "https://host/{id}", headers={"A": "b"}, json={"a": ["{b}"]}, expect=[200, "4xx"])
    assert steps.save(1, made).load() == made


async def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(Failed, match=r"httpx2 is not installed: pip install 'awfe\[http\]'"):
        await Http("GET", "http://127.0.0.1/").work(Context())


async def test_a_certificate_of_ones_own_is_trusted_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    tls, others = certificate(tmp_path / "ca.pem"), tmp_path / "other.pem"
    certificate(others)
    async with serving(tls) as web:
        ctx = Context()
        await Http("GET", f"{web.url}/x", ca_file=str(tmp_path / "ca.pem"), save_as="a").work(ctx)
        assert ctx["a"]["status"] == 200
        for untrusted in (None, str(others)):
            with pytest.raises(HttpFailed, match="certificate verify failed"):
                await Http("GET", f"{web.url}/x", ca_file=untrusted).work(Context())
    (tmp_path / "no.pem").write_text("no certificate")
    for name in ("no.pem", "missing.pem"):
        with pytest.raises(InvalidInput, match=f"ca_file='.*{name}': .*give a file of certificates in PEM"):
            await Http("GET", "https://127.0.0.1", ca_file=str(tmp_path / name)).work(Context())
    with pytest.raises(InvalidInput, match="ca_file"):
        Http("GET", "https://127.0.0.1", ca_file=cast("Any", 5))
