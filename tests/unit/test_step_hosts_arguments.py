"""What OnHosts is given: hosts as people write them, and what is refused before anything runs."""

import re
import sys
from typing import Any

import pytest

from awfe import Context, InvalidInput
from awfe.domain import step as steps
from awfe.steps import Failed, OnHosts
from awfe.steps.addresses import Address, addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web1", ("web1", None, None)),
        ("ada@web-1.example.org", ("web-1.example.org", "ada", None)),
        ("web1:2222", ("web1", None, 2222)),
        ("a.b-c@10.0.0.1:65535", ("10.0.0.1", "a.b-c", 65535)),
        ("[::1]:22", ("::1", None, 22)),
        ("ada@[fe80::1%eth0]", ("fe80::1%eth0", "ada", None)),
    ],
)
def test_hosts_as_people_write_them(text: str, expected: tuple[Any, ...]) -> None:
    assert addresses([text]) == [Address(text, *expected)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        "-oProxyCommand=x",
        "a@-b",
        "@a",
        "a@",
        "a:",
        "a:0",
        "a:65536",
        "a:b",
        "::1",
        "a\n",
        "a;b",
        "a/b",
        3,
        None,
    ],
)
def test_other_hosts_are_refused(text: Any) -> None:
    with pytest.raises(InvalidInput, match=re.escape(f"{text!r}")):
        OnHosts([text], "true")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hosts": ["a", "a"]}, "twice"),
        ({"hosts": 3}, "hosts=3"),
        ({"command": ""}, "command="),
        ({"command": []}, "command="),
        ({"command": ["a", 1]}, "command="),
        ({"command": "a\0"}, "command: a value has a NUL"),
        ({"command": "echo '{a}'"}, "single quotes"),
        ({"command": ["{"]}, "begins or ends no"),
        ({"passphrase": "plain"}, "passphrase: give a Secret"),
        ({"limit": 0}, "limit=0"),
        ({"max_failures": "x"}, "max_failures="),
        ({"serial": 0}, "serial=0"),
        ({"serial": []}, "serial="),
        ({"ok_codes": []}, "ok_codes="),
        ({"ok_codes": ["0"]}, "ok_codes="),
        ({"save_as": ""}, "save_as="),
        ({"keep": 0}, "keep=0"),
        ({"user": 1}, "user=1"),
        ({"identity": [1]}, "identity=1"),
        ({"known_hosts": False}, "known_hosts=False"),
        ({"port": 0}, "port=0"),
        ({"port": 65_536}, "port=65536"),
        ({"connect_timeout": 0}, "connect_timeout=0"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        OnHosts(**({"hosts": ["a"], "command": "true"} | options))


def test_it_is_saved_as_it_was_given() -> None:
    made = OnHosts("hosts", ["uptime"], serial=[1, "30%"], identity=["~/.ssh/id"], user="ada")
    assert steps.save(1, made).load() == made


async def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "awfe.steps.ssh", raising=False)
    monkeypatch.delitem(sys.modules, "awfe.steps.hostkeys", raising=False)
    monkeypatch.delattr("awfe.steps.ssh", raising=False)
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    with pytest.raises(Failed, match=r"asyncssh is not installed: pip install 'awfe\[ssh\]'"):
        await OnHosts(["a"], "true").work(Context())
