"""Commands on other hosts."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from awfe import checks
from awfe.domain.context import Context
from awfe.domain.secret import Secret
from awfe.domain.step import BaseStep
from awfe.errors import InvalidInput
from awfe.steps import amounts, given
from awfe.steps.addresses import MAX_PORT, Address, addresses
from awfe.steps.failed import HostFailed, needs
from awfe.steps.fan import Fan
from awfe.steps.lines import Lines
from awfe.steps.progress import Progress
from awfe.steps.quoting import Script, encoded, plain_words
from awfe.steps.templates import parse

if TYPE_CHECKING:
    from awfe.steps.ssh import Ssh


@dataclass
class OnHosts(BaseStep, name="awfe.OnHosts"):
    """Runs a command on hosts by SSH, batch after batch; after a restart only on those where it is not done.

    `hosts` is a list or the key of one in the context. A text goes through `sh` there, a list of words does not;
    `{name}` is a value of the context, quoted as one word, and `{host}` the name of the host. `serial` gives the sizes
    of batches as Ansible does: a number, a percentage, or a list. Of a batch `limit` hosts are worked on at once.
    More than `max_failures` failed hosts (a number, or a percentage of all) fail the step, and no further one begins.
    Exit status and the last `keep` characters of the output are kept by host under `save_as`. Host keys are always
    checked, against `known_hosts` (default: ~/.ssh/known_hosts). `identity` names files of private keys (default: those
    of the agent and of ~/.ssh); `passphrase`, a `Secret`, opens them. `connect_timeout` is in seconds. Whatever cuts
    the step off ends the command there. Needs the extra `ssh`. Raises `InvalidInput` for what makes no sense.
    """

    hosts: str | list[str]
    command: str | list[str | Secret]
    limit: int = field(default=10, kw_only=True)
    max_failures: int | str = field(default=0, kw_only=True)
    serial: int | str | list[int | str] | None = field(default=None, kw_only=True)
    ok_codes: list[int] = field(default_factory=lambda: [0], kw_only=True)
    save_as: str | None = field(default=None, kw_only=True)
    keep: int = field(default=2_000, kw_only=True)
    user: str | None = field(default=None, kw_only=True)
    port: int = field(default=22, kw_only=True)
    identity: str | list[str] | None = field(default=None, kw_only=True)
    passphrase: Secret | None = field(default=None, kw_only=True)
    known_hosts: str | None = field(default=None, kw_only=True)
    ssh_config: str | None = field(default=None, kw_only=True)
    connect_timeout: float = field(default=10.0, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what can't be run anywhere."""
        given.key_or_list("hosts", self.hosts)
        if isinstance(self.hosts, list):
            addresses(self.hosts)
        _check_command(self.command)
        checks.whole("limit", self.limit)
        amounts.check("max_failures", self.max_failures, 0)
        if self.serial is not None:
            amounts.check_serial("serial", self.serial)
        if not self.ok_codes or any(type(code) is not int for code in self.ok_codes):
            msg = f"ok_codes={self.ok_codes!r:.60}: give a list of numbers"
            raise InvalidInput(msg)
        given.key("save_as", self.save_as)
        checks.whole("keep", self.keep)
        for what in ("user", "known_hosts", "ssh_config"):
            checks.text(what, getattr(self, what))
        for path in self.identity if isinstance(self.identity, list) else [self.identity]:
            checks.text("identity", path)
        if self.passphrase is not None and not isinstance(self.passphrase, Secret):
            msg = "passphrase: give a Secret, so that it is not saved"
            raise InvalidInput(msg)
        checks.whole("port", self.port)
        if self.port > MAX_PORT:
            msg = f"port={self.port}: give one of 1 to {MAX_PORT}"
            raise InvalidInput(msg)
        given.seconds("connect_timeout", self.connect_timeout)

    async def work(self, ctx: Context) -> None:
        """Run the command where it is not done."""
        found = addresses(given.listed(ctx, "hosts", self.hosts))
        by_text = {address.text: address for address in found}
        # All of them before the first is used: what is missing in the context is missing everywhere.
        commands = {text: self._words(address, ctx) for text, address in by_text.items()}
        progress = Progress(ctx, self.save_as)
        fan = Fan(progress, self.limit, amounts.amount(self.max_failures, len(found)))
        ssh = self._ssh()

        async def act(text: str) -> dict[str, Any]:
            lines = Lines(f"{text}: ", ctx.output)
            try:
                status, stdout, stderr = await ssh.run(by_text[text], commands[text], lines.add)
            finally:
                lines.end()
            if status not in self.ok_codes:
                last = (stderr.strip() or stdout.strip()).splitlines()[-1:]
                msg = ": ".join([f"exited with {status}", *last])
                raise HostFailed(msg, status, stdout)
            return {"status": status, "stdout": stdout}

        for batch in amounts.batches(list(by_text), self.serial):
            if not fan.is_over:
                await fan.run(batch, act)
        fan.refuse("hosts", list(by_text), self.max_failures)
        results = {text: progress.result(text) or _failure(fan.failed[text]) for text in by_text}
        progress.clear()
        if self.save_as is not None:
            ctx[self.save_as] = results

    def _words(self, address: Address, ctx: Context) -> list[str]:
        there = Context.attached(ctx.snapshot(), ctx.services, workflow=ctx.workflow, step=ctx.step)
        there["host"] = address.name
        if isinstance(self.command, str):
            words = ["sh", *Script.of(self.command).arguments(there)]
        else:
            words = plain_words([parse(word, "command") for word in self.command], there)
        encoded(words, "command")  # for what it refuses
        return words

    def _ssh(self) -> "Ssh":
        try:
            from awfe.steps.ssh import Ssh  # noqa: PLC0415 - asyncssh is an extra, and only this step needs it
        except ModuleNotFoundError as error:
            raise needs(error, "ssh") from error
        identity = [self.identity] if isinstance(self.identity, str) else self.identity
        return Ssh(
            user=self.user,
            port=self.port,
            identity=identity,
            passphrase=self.passphrase,
            known_hosts=self.known_hosts,
            config=self.ssh_config,
            connect_timeout=self.connect_timeout,
            keep=self.keep,
        )


def _failure(error: Exception) -> dict[str, Any]:
    return error.result if isinstance(error, HostFailed) else HostFailed(str(error)).result


def _check_command(command: Any) -> None:
    given_words = command if isinstance(command, list) else [command]
    if not given_words or not all(isinstance(word, str | Secret) for word in given_words) or not given_words[0]:
        msg = f"command={command!r:.100}: give a text for sh, or a list of words"
        raise InvalidInput(msg)
    encoded([word for word in given_words if isinstance(word, str)], "command")
    for word in given_words:
        parse(word, "command")
    if isinstance(command, str):
        Script.of(command)
