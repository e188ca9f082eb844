"""A secret is known to the step that runs, and to nothing that is kept or shown."""

import asyncio
import logging
import traceback
from dataclasses import dataclass, field
from typing import Any

import pytest

from awfe import BaseStep, ConfigError, Context, ContextError, Engine, InvalidInput, StepError
from awfe.persistence.schema import metadata
from awfe.steps import Secret, Shell
from tests.conformance.conftest import OpenEngine
from tests.databases import Database

TEXT = 'hunter2 & {it}\'s "quoted" \\ ☃'
PEM = "-----BEGIN KEY-----\nabcdefghijkl\nmnopqrstuvwx\n-----END KEY-----"


@dataclass
class Use(BaseStep):
    """Does with its secret what careless steps do."""

    how: str
    password: Any = None
    options: dict[str, Any] = field(default_factory=dict)

    async def work(self, ctx: Context) -> None:
        """Use it."""
        await getattr(self, f"_{self.how}")(ctx)

    async def _look(self, ctx: Context) -> None:
        assert self.password == TEXT
        assert self.options == {"deep": [TEXT, 1]}
        assert ctx["db"]["password"] == TEXT
        assert ctx["alone"] == TEXT
        assert TEXT not in repr((self, ctx, ctx["alone"]))
        ctx["db"]["seen"] = True
        ctx["copy"] = ctx["alone"]
        ctx["argument"] = self.password

    async def _print(self, ctx: Context) -> None:
        ctx.output(f"it is {self.password}!\n")
        for char in f"slowly {self.password}; hunt":
            ctx.output(char)

    async def _log(self, ctx: Context) -> None:
        ctx.log.warning("it is %s, %d", self.password, 5, extra={"more": str(self.password)})
        try:
            raise ValueError(f"no {self.password}")  # noqa: EM102, TRY003, TRY301 - what careless steps do
        except ValueError:
            ctx.log.exception("failed")

    async def _fail(self, _ctx: Context) -> None:
        try:
            raise FileNotFoundError(2, "nothing", str(self.password))
        except OSError as error:
            error.add_note(f"a note of {self.password}")
            raise Unmasked(str(self.password), [self.password]) from error

    async def _save(self, ctx: Context) -> None:
        ctx["text"] = f"the password is {self.password}"

    async def _checkpoint(self, ctx: Context) -> None:
        ctx["text"] = [{"deep": str(self.password)}]
        await ctx.checkpoint()

    async def _key(self, ctx: Context) -> None:
        ctx[f"{self.password}"] = 1


class Unmasked(Exception):
    """Keeps its text where nobody looks for it."""

    def __init__(self, text: str, more: list[Any]) -> None:
        super().__init__(more)
        self._hidden = bytearray(text.encode())

    def __str__(self) -> str:
        return f"it was {self._hidden.decode()}"


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the secret in the environment."""
    monkeypatch.setenv("T_PASSWORD", TEXT)
    monkeypatch.setenv("T_PEM", PEM)


async def everything(database: Database) -> str:
    """Return all that the tables hold."""
    return repr([await database.execute(f"SELECT * FROM {table.name}") for table in metadata.sorted_tables])


async def create(engine: Engine, *steps: Any, **context: Any) -> None:
    """Create a workflow."""
    await engine.create_workflow("w", context, steps)


async def test_a_step_knows_its_secrets_and_they_are_saved_as_references(engine: Engine, database: Database) -> None:
    secret = Secret("T_PASSWORD")
    db = {"user": "me", "password": secret}
    await create(engine, Use("look", secret, {"deep": [secret, 1]}), db=db, alone=secret)
    workflow = await engine.run("w")
    assert workflow.context == {"db": {**db, "seen": True}, "alone": secret, "copy": secret, "argument": secret}
    assert workflow.steps[0].args["password"] == {"$secret": "T_PASSWORD"}
    assert workflow.to_dict()["context"]["alone"] == {"$secret": "T_PASSWORD"}
    assert "hunter2" not in await everything(database)


async def test_a_command_gets_them_and_its_output_is_masked(open_engine: OpenEngine, database: Database) -> None:
    printed: list[str] = []
    engine = await open_engine(redirect=printed.append)
    secret = Secret("T_PASSWORD")
    steps = [
        Shell("printf '%s' {db.p} | wc -m; echo {db.p}"),
        Shell(["printf", "%s.\\n", secret, "{db.p}"]),
        Shell('echo "$P"; cat >&2; set -x; : {db.p}', env={"P": secret}, input=secret),
        Shell("cat; printf begin; sleep 0.1; printf hunt; sleep 0.1; printf er3", input="{pem}"),
    ]
    await create(engine, *steps, db={"p": secret}, pem=Secret("T_PEM"))
    workflow = await engine.run("w")
    outputs = [step.output for step in workflow.steps]
    assert outputs[0].split() == [str(len(TEXT)), "***"]
    assert outputs[1] == "***.\n***.\n"
    assert "hunter2" not in "".join(outputs + printed)
    assert outputs[3] == "***beginhunter3"
    assert "".join(printed) == "".join(outputs)
    assert "hunter2" not in await everything(database)


async def test_by_env_and_by_input_a_command_gets_one_that_ps_does_not_show(engine: Engine) -> None:
    look = "cat /proc/$$/cmdline /proc/$PPID/cmdline | tr '\\0' '\\n' | grep -c 'hunter[2]' || :"
    secret = Secret("T_PASSWORD")
    steps = [
        Shell(look, env={"P": secret}, input=secret, save_as="unseen"),
        Shell(f"{look}; : {{p}}", save_as="seen"),
    ]
    await create(engine, *steps, p=secret)
    context = (await engine.run("w")).context
    assert context["unseen"] == "0"
    # As the documentation warns; the supervisor has it, too.
    assert int(context["seen"]) > 0


async def test_output_and_log_are_masked(
    open_engine: OpenEngine, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    printed: list[str] = []
    engine = await open_engine(redirect=printed.append)
    secret = Secret("T_PASSWORD")
    with caplog.at_level(logging.INFO):
        await create(engine, Use("print", secret), Use("log", secret))
        workflow = await engine.run("w")
    assert "".join(printed) == workflow.steps[0].output == "it is ***!\nslowly ***; hunt"
    assert "w[2 Use]: it is ***, 5" in caplog.text
    assert "ValueError: no ***" in caplog.text
    assert [record.more for record in caplog.records if hasattr(record, "more")] == ["***"]
    assert {record.funcName for record in caplog.records if "w[2 Use]" in record.getMessage()} == {"_log"}
    assert "hunter2" not in caplog.text + await everything(database)


async def test_an_error_is_masked_with_all_that_led_to_it(
    engine: Engine, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await create(engine, Use("fail", Secret("T_PASSWORD")))
    with pytest.raises(StepError, match=r"Unmasked: it was \*\*\*$") as caught:
        await engine.run("w")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    error = (await engine.get("w")).steps[0].error
    assert error is not None
    assert error.message == "it was ***"
    assert "hunter2" not in str(error)
    await engine.reset("w")
    handle = await engine.start("w")
    await engine.wait("w")
    del handle  # nobody awaits its error: it is logged
    assert "Unmasked: it was ***" in caplog.text
    assert "hunter2" not in caplog.text + await everything(database)


@pytest.mark.parametrize("how", ["save", "checkpoint", "key"])
async def test_its_text_can_not_be_put_into_the_context(engine: Engine, database: Database, how: str) -> None:
    await create(engine, Use(how, Secret("T_PASSWORD")))
    with pytest.raises(StepError, match="holds the text of a secret; keep Secret") as caught:
        await engine.run("w")
    assert isinstance(caught.value.__cause__, ContextError)
    assert (await engine.get("w")).context == {}
    assert "hunter2" not in await everything(database)


async def test_a_command_can_not_save_one(engine: Engine, database: Database) -> None:
    await create(engine, Shell("echo {p}", save_as="x"), p=Secret("T_PASSWORD"))
    with pytest.raises(StepError, match="holds the text of a secret"):
        await engine.run("w")
    assert "hunter2" not in await everything(database)


async def test_a_secret_that_is_not_set_fails_the_step_before_it_does_anything(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    begun: list[str] = []

    @engine.before_step
    async def note(ctx: Context) -> None:
        begun.append(ctx.step.name)

    await create(engine, Shell("touch {file}", env={"A": Secret("T_NONE")}), file=str(tmp_path / "file"))
    with pytest.raises(StepError, match="the secret 'T_NONE' is not set: set the environment variable") as caught:
        await engine.run("w")
    assert isinstance(caught.value.__cause__, ConfigError)
    assert (begun, (tmp_path / "file").exists()) == ([], False)
    monkeypatch.setenv("T_NONE", "now there")
    await engine.restart("w")
    assert (tmp_path / "file").exists()


async def test_a_context_may_have_one_that_is_not_set_as_long_as_nobody_reads_it(engine: Engine) -> None:
    await create(engine, Shell("true"), Shell("echo {none}"), none=Secret("T_NONE"))
    with pytest.raises(StepError, match=r"step 2 .*'T_NONE' is not set"):
        await engine.run("w")


async def test_a_function_may_know_them(open_engine: OpenEngine) -> None:
    asked: list[str] = []

    async def vault(name: str) -> str | None:
        asked.append(name)
        await asyncio.sleep(0)
        if name == "broken":
            raise OSError("the vault is sealed")  # noqa: EM101, TRY003 - an example
        return f"{name} of the vault" if name.startswith("db") else None

    printed: list[str] = []
    engine = await open_engine(secrets=vault, redirect=printed.append)
    await create(engine, Shell("printf '%s' {p} | wc -c; echo {p}"), p=Secret("db"))
    workflow = await engine.run("w")
    assert workflow.steps[0].output.split() == ["15", "***"]
    assert asked == ["db"]
    for name, problem in (("T_PASSWORD", "is not set"), ("broken", "can't be looked up: OSError: the vault is sealed")):
        await engine.create_workflow(name, {}, [Shell(["echo", Secret(name)])])
        with pytest.raises(StepError, match=f"the secret '{name}' {problem}"):
            await engine.run(name)


async def test_what_looks_like_a_reference_is_refused(engine: Engine) -> None:
    lookalike = {"a": [{"$secret": "T_PASSWORD"}]}
    with pytest.raises(ContextError, match=r"context\['x'\]\['a'\]\[0\]: the key '\$secret' is kept for references"):
        await create(engine, Shell("true"), x=lookalike)
    with pytest.raises(InvalidInput, match=r"the key '\$secret' is kept"):
        await create(engine, Use("look", lookalike))
    await create(engine, Shell("true"))
    with pytest.raises(ContextError, match="is kept for references"):
        await engine.update_context("w", {"$secret": "x"})


async def test_a_resolver_is_a_function(database: Database) -> None:
    with pytest.raises(ConfigError, match="give a function of the name of a secret"):
        Engine(database.url, secrets={"a": "b"})  # type: ignore[arg-type]  # what is tested
