"""The format: which keys there are, and what they may be. Its JSON Schema is made from these, too.

What stands under a key that is left out is the step's own to say. A description ends the sentence "give …".
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from awfe.domain.secret import Secret
from awfe.runbooks.durations import PATTERN

# Marks that a type has in its `extra`.
# What it marks is made of the node, by others.
NODE: Final = "node"
DURATION: Final = "duration"


Text = Annotated[str, Meta(description="a text")]
Key = Annotated[str, Meta(description="a key of the context", min_length=1)]
Value = Annotated[str | Secret, Meta(description="a text")]
Words = Annotated[str | list[Value], Meta(description="a text for sh, or a list of words")]
Texts = Annotated[list[str], Meta(description="a list of texts")]
Hosts = Annotated[str | list[str], Meta(description="a list of hosts, or the key of one in the context")]
Items = Annotated[str | list[Any], Meta(description="a list, or the key of one in the context")]
Values = Annotated[dict[str, Any], Meta(description="a mapping of keys to values")]
Arguments = Annotated[
    dict[str, Annotated[Any, Meta(extra={NODE: True})]], Meta(description="a mapping of arguments to values")
]
Headers = Annotated[dict[str, Value], Meta(description="a mapping of names to texts")]
Variables = Annotated[dict[str, Value | None], Meta(description="a mapping of names to texts, or to null")]
Codes = Annotated[list[int], Meta(description="a list of exit codes")]
Amount = Annotated[int | str, Meta(description='a number, or a percentage such as "10%"')]
Serial = Annotated[int | str | list[int | str], Meta(description='a number, a percentage such as "30%", or a list')]
Expect = Annotated[int | str | list[int | str], Meta(description='a status, a class such as "2xx", or a list of these')]
Number = Annotated[int, Meta(description="a whole number")]
Flag = Annotated[bool, Meta(description="true or false")]
Function = Annotated[str, Meta(description="module:name", pattern=r"^[^\W\d][\w.]*:[^\W\d]\w*$")]
Duration = Annotated[
    int | float | str,
    Meta(
        description="a duration such as 30s, 5m or 1h30m, or a number of seconds",
        extra={DURATION: True},
        extra_json_schema={"pattern": PATTERN, "minimum": 0},
    ),
]
Step = Annotated[Any, Meta(description="a step", extra={NODE: True}, extra_json_schema={"$ref": "#/$defs/Step"})]
Steps = Annotated[list[Step], Meta(description="a list of steps", min_length=1)]


class Keys(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A mapping in a runbook."""


class RetryKeys(Keys, kw_only=True):
    """How often a step is tried, and how long is waited before that."""

    attempts: Number | UnsetType = UNSET
    wait: Duration | UnsetType = UNSET
    factor: Annotated[int | float, Meta(description="a number")] | UnsetType = UNSET
    max_wait: Duration | UnsetType = UNSET


Retrying = Annotated[int | RetryKeys, Meta(description="how many attempts, or a mapping with attempts, wait, …")]


class Common(Keys, kw_only=True):
    """What every step has."""

    name: Annotated[str, Meta(description="a text")] | UnsetType = UNSET
    timeout: Duration | UnsetType = UNSET
    retry: Retrying | UnsetType = UNSET
    on_error: Annotated[Literal["pause", "skip"], Meta(description="pause or skip")] | UnsetType = UNSET
    on_interrupt: Annotated[Literal["pause", "rerun"], Meta(description="pause or rerun")] | UnsetType = UNSET


class ShellKeys(Common, kw_only=True):
    """A command."""

    shell: Words
    cwd: Text | UnsetType = UNSET
    env: Variables | UnsetType = UNSET
    ok_codes: Codes | UnsetType = UNSET
    save_as: Key | UnsetType = UNSET
    input: Value | UnsetType = UNSET
    kill_after: Duration | UnsetType = UNSET


class HostsKeys(Common, kw_only=True):
    """A command on hosts, by SSH."""

    hosts: Hosts
    command: Words
    limit: Number | UnsetType = UNSET
    max_failures: Amount | UnsetType = UNSET
    serial: Serial | UnsetType = UNSET
    ok_codes: Codes | UnsetType = UNSET
    save_as: Key | UnsetType = UNSET
    keep: Number | UnsetType = UNSET
    user: Text | UnsetType = UNSET
    port: Number | UnsetType = UNSET
    identity: Annotated[str | list[str], Meta(description="a file, or a list of them")] | UnsetType = UNSET
    passphrase: Annotated[Secret, Meta(description="a secret, as {$secret: NAME}")] | UnsetType = UNSET
    known_hosts: Text | UnsetType = UNSET
    ssh_config: Text | UnsetType = UNSET
    connect_timeout: Duration | UnsetType = UNSET


class HttpKeys(Common, kw_only=True):
    """A request to a web service."""

    http: Annotated[str, Meta(description="a method and a URL, such as GET https://example.org")]
    json: Annotated[Any, Meta(description="any value")] | UnsetType = UNSET
    body: Annotated[str | Secret, Meta(description="a text")] | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET
    params: Headers | UnsetType = UNSET
    expect: Expect | UnsetType = UNSET
    save_as: Key | UnsetType = UNSET
    redirects: Flag | UnsetType = UNSET
    max_silence: Duration | UnsetType = UNSET
    max_body: Number | UnsetType = UNSET
    ca_file: Text | UnsetType = UNSET


class SqlKeys(Common, kw_only=True):
    """A statement of SQL."""

    sql: Annotated[str, Meta(description="one statement of SQL")]
    params: Values | UnsetType = UNSET
    url: Text | UnsetType = UNSET
    save_as: Key | UnsetType = UNSET


class SleepKeys(Common, kw_only=True):
    """A time to wait."""

    sleep: Duration


class ApprovalKeys(Common, kw_only=True):
    """Somebody's approval."""

    approval: Annotated[str, Meta(description="a text that says what is asked")]
    of: Annotated[list[str], Meta(description="a list of actors")] | UnsetType = UNSET
    expires: Duration | UnsetType = UNSET
    save_as: Key | UnsetType = UNSET


class ForEachKeys(Common, kw_only=True):
    """A step for every item of a list."""

    foreach: Items
    step: Step
    as_: Key | UnsetType = field(default=UNSET, name="as")
    limit: Number | UnsetType = UNSET
    max_failures: Amount | UnsetType = UNSET
    save_as: Key | UnsetType = UNSET


class AssertKeys(Common, kw_only=True):
    """A condition that must hold."""

    assert_: Annotated[str, Meta(description="an expression, as a text")] = field(name="assert")
    message: Text | UnsetType = UNSET


class SetKeys(Common, kw_only=True):
    """Values of the context."""

    set: Values
    unset: Annotated[list[str], Meta(description="a list of keys")] | UnsetType = UNSET


class SubWorkflowKeys(Common, kw_only=True):
    """Steps as a workflow of their own."""

    subworkflow: Annotated[str, Meta(description="the name of the workflow")]
    steps: Steps
    context: Values | UnsetType = UNSET
    save_as: Key | UnsetType = UNSET


class CallKeys(Common, kw_only=True):
    """A function of a program's."""

    call: Function
    arguments: Values | UnsetType = UNSET


class UseKeys(Common, kw_only=True):
    """A step of a program's."""

    use: Function
    with_: Arguments | UnsetType = field(default=UNSET, name="with")


KINDS: Final[dict[str, type[Common]]] = {
    "shell": ShellKeys,
    "hosts": HostsKeys,
    "http": HttpKeys,
    "sql": SqlKeys,
    "sleep": SleepKeys,
    "approval": ApprovalKeys,
    "foreach": ForEachKeys,
    "assert": AssertKeys,
    "set": SetKeys,
    "subworkflow": SubWorkflowKeys,
    "call": CallKeys,
    "use": UseKeys,
}
TYPES: Final = ("str", "int", "float", "bool", "list", "dict", "secret")


class InputKeys(Keys, kw_only=True):
    """One value of the context, as it is declared; without a default it must be given."""

    type: Annotated[
        Literal["str", "int", "float", "bool", "list", "dict", "secret"],
        Meta(description=f"one of {', '.join(TYPES)}"),
    ]
    default: Annotated[Any, Meta(description="any value", extra={NODE: True})] | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    choices: Annotated[list[Any], Meta(description="a list of values", extra={NODE: True})] | UnsetType = UNSET


class RunbookKeys(Keys, kw_only=True):
    """A runbook."""

    name: Annotated[str, Meta(description="a text")]
    steps: Steps
    description: Text | UnsetType = UNSET
    context: Values | UnsetType = UNSET


@cache
def names(keys: type[Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """Return the fields of a mapping by their names in the file."""
    return {each.encode_name: each for each in msgspec.structs.fields(keys)}
