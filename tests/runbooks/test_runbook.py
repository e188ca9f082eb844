"""What a runbook that is right becomes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from awfe import BaseStep, InvalidInput, Retry
from awfe.domain.step import policies_of, save
from awfe.runbooks import Runbook, load
from awfe.steps import (
    Approval,
    Assert,
    Call,
    CallSync,
    Delay,
    ForEach,
    Http,
    OnHosts,
    Secret,
    SetContext,
    Shell,
    Sql,
    SubWorkflow,
)
from tests.runbooks.steps import Backup, Bare

WHOLE = Path(__file__).with_name("whole.yaml")
RETRY = Retry(attempts=3, wait=0.25, factor=2, max_wait=60)
TOKEN, KEY = Secret("DEPLOY_TOKEN"), Secret("SSH_KEY")
ENV = {"VERSION": "1.10", "MODE": "0755", "ANSWER": "yes", "TOKEN": TOKEN, "GONE": None}


def steps() -> list[BaseStep]:
    """Return the steps of the file, as a program would write them."""
    inner = Shell("echo {server} {item}").using(timeout=5.0, on_interrupt="rerun")
    middle = ForEach([1, 2], inner).using(on_interrupt="rerun")
    return [
        Shell(
            "echo {app} {version} {hosts} {labels.team}",
            cwd="/tmp",  # noqa: S108 - nobody goes there
            env=ENV,
            ok_codes=[0, 1],
            save_as="said",
            input="{note}",
            kill_after=2.0,
        ),
        Shell(["echo", "{app}", "3", "true", TOKEN], input=TOKEN),
        OnHosts(
            "hosts",
            "systemctl restart {app} on {host}",
            limit=2,
            max_failures="10%",
            serial=[1, "30%"],
            save_as="restarted",
            keep=100,
            user="deploy",
            port=2222,
            identity=["a", "b"],
            passphrase=KEY,
            known_hosts="k",
            ssh_config="c",
            connect_timeout=3.0,
        ),
        Http("GET", "https://example.org/{app}"),
        Http(
            "POST",
            "https://example.org/{app}",
            json={"version": "{version}", "count": 3},
            headers={"Authorization": TOKEN},
            params={"q": "{app}"},
            expect=[200, "3xx"],
            save_as="answer",
            redirects=False,
            max_silence=10.0,
            max_body=1000,
            ca_file="ca.pem",
        ),
        Sql("SELECT :version, :x", {"x": 1}, save_as="rows"),
        Sql("VACUUM", url="DATABASE_URL"),
        Delay(90.0),
        Approval("release {app} {version}?", of=["ada", "bob"], expires=86_400.0, save_as="approved"),
        ForEach("hosts", middle, as_="server", limit=2, max_failures=1, save_as="results"),
        Assert("len(results) == len(hosts) and exists('answer.status')", "only {results[0]}"),
        SetContext({"copy": "{results}", "n": 1, "off": "off"}, ["note"]),
        SubWorkflow("child-{app}", [Shell("echo {a}").named("inner")], context={"a": 1}, save_as="child"),
        Call("tests.runbooks.steps:greet", {"who": "you"}),
        CallSync("tests.runbooks.steps:count"),
        Backup("2024", ratio=1.0),
        Bare(),
        Shell("echo {anything}"),
    ]


def test_every_kind_of_step_is_made_as_a_program_would_make_it() -> None:
    runbook = load(WHOLE)
    # As they are saved: what is a step's name is looked at below.
    wanted = [(spec.impl, spec.args) for spec in (save(1, step) for step in steps())]
    assert [(spec.impl, spec.args) for spec in (save(1, step) for step in runbook.steps)] == wanted
    assert runbook.modules == ("tests.runbooks.steps",)
    assert runbook.description == "All that a runbook can have."


def test_policies_and_names() -> None:
    first, second, third, *others = load(WHOLE).steps
    policies = policies_of(first)
    assert (policies.timeout, policies.retry, policies.on_error) == (5400.0, RETRY, "skip")
    assert save(1, first).name == "announce"
    assert save(1, second).name == "Shell"
    assert policies_of(third).retry == Retry(attempts=2)
    assert [policies_of(step).on_interrupt for step in others if isinstance(step, ForEach)] == ["rerun"]


def test_yaml_and_toml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("""
name = "check-{host}"
[context]
tries = 3
host = { type = "str" }
[[steps]]
name = "look"
shell = "echo {host}"
env.A = "1"
retry = { attempts = 2, wait = "5s" }
[[steps]]
set.when = "now"
""")
    (tmp_path / "a.yaml").write_text("""
name: check-{host}
context:
  tries: 3
  host: {type: str}
steps:
  - name: look
    shell: echo {host}
    env: {A: 1}
    retry: {attempts: 2, wait: 5s}
  - set: {when: now}
""")
    one, two = load(tmp_path / "a.toml"), load(tmp_path / "a.yaml")
    assert (one.name, one.inputs) == (two.name, two.inputs)
    assert [save(1, step) for step in one.steps] == [save(1, step) for step in two.steps]


def test_awfe_imports_nothing_of_it() -> None:
    program = "import awfe.steps, json, sys; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 - our own
    names = json.loads(done.stdout)
    assert "awfe.steps" in names
    assert [name for name in names if name == "yaml" or name.startswith("awfe.runbooks")] == []


def test_a_runbook_is_a_value() -> None:
    assert isinstance(load(WHOLE), Runbook)
    with pytest.raises(AttributeError):
        load(WHOLE).name = "other"  # type: ignore[misc]  # that is what is tried


def test_without_pyyaml_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "awfe.runbooks.yaml_text")
    monkeypatch.delattr("awfe.runbooks.yaml_text")
    path = tmp_path / "a.yaml"
    path.write_text("name: check\n")
    with pytest.raises(InvalidInput, match=r"yaml is not installed: pip install 'awfe\[cli\]'"):
        load(path)
