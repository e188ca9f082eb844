"""Maintenance of three servers: stop the app on each, run a command there, start the app again, verify.

The servers are processes on this machine. Press Ctrl-C, or kill -9 it, and start it again: it goes on where it was.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from awfe import AwfeError, BaseStep, Context, Engine, ErrorState, StepError

SERVERS = ["app1", "app2", "app3"]
COMMAND = 'sleep 1; uname -sr | tee "$SERVER.report"'
# The app of a server answers on a socket until it is told to stop; forgotten by everybody, it ends after ten minutes.
APP = """
import os, socket, sys
path, request = sys.argv[1] + ".sock", b""
if os.path.exists(path):
    os.unlink(path)
with socket.socket(socket.AF_UNIX) as app:
    app.bind(path), app.listen(), app.settimeout(600)
    print("up", flush=True)
    while request != b"stop":
        client, _ = app.accept()
        with client:
            request = client.recv(9)
            if request == b"stop":
                os.unlink(path), app.close()
            client.sendall(b"pid %d" % os.getpid())
"""


async def ask(server: str, request: str = "state") -> str:
    """Return what the app on a server answers; "" when it is down."""
    try:
        reader, writer = await asyncio.open_unix_connection(f"{server}.sock")
        writer.write(request.encode())
        answer = await reader.read()
        writer.close()
    except OSError:
        return ""
    return answer.decode()


def launch(server: str) -> None:
    """Start the app as a process that outlives this one, and return when it listens."""
    command = ["/bin/sh", "-c", '"$@" &', "sh", sys.executable, "-c", APP, server]
    silent = subprocess.DEVNULL  # who reads what we print must not wait for the end of the app
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=silent, start_new_session=True) as shell:
        if not (shell.stdout and shell.stdout.readline()):
            msg = f"the app on {server} does not start"
            raise RuntimeError(msg)


class OnEachServer(BaseStep):
    """A step that acts on one server after the other, and may be repeated.

    It saves which servers are done, so that after an interruption it goes on with the others.
    """

    on_interrupt = "rerun"
    timeout = 60

    async def work(self, ctx: Context) -> None:
        done = ctx.setdefault(ctx.step.name, {})
        for server in ctx["servers"]:
            if server in done:
                ctx.output(f"    {server}: done already\n")
                continue
            done[server] = await self.act(server, ctx)
            await ctx.checkpoint()
            ctx.output(f"    {server}: {done[server]}\n")

    async def act(self, server: str, ctx: Context) -> str:
        raise NotImplementedError


class StopApp(OnEachServer, name="maintenance.StopApp"):
    async def act(self, server: str, _ctx: Context) -> str:
        answer = await ask(server, "stop")
        return f"{answer} is stopped" if answer else "was down"


class RunCommand(OnEachServer, name="maintenance.RunCommand"):
    async def act(self, server: str, ctx: Context) -> str:
        # In a session of its own, out of reach of a Ctrl-C: what becomes of it is decided here.
        process = await asyncio.create_subprocess_shell(
            ctx["command"], env={**os.environ, "SERVER": server}, stdout=subprocess.PIPE, start_new_session=True
        )
        try:
            printed, _ = await process.communicate()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            msg = f"{ctx['command']!r} for {server} ended with {process.returncode}"
            raise RuntimeError(msg)
        return printed.decode().strip()


class StartApp(OnEachServer, name="maintenance.StartApp"):
    async def act(self, server: str, _ctx: Context) -> str:
        if not await ask(server):
            await asyncio.to_thread(launch, server)
        return f"{await ask(server)} is up"


class Verify(OnEachServer, name="maintenance.Verify"):
    async def act(self, server: str, _ctx: Context) -> str:
        if answer := await ask(server):
            return f"{answer} answers"
        msg = f"{server} does not answer"
        raise RuntimeError(msg)


async def announce(ctx: Context) -> None:
    """Say which step begins."""
    ctx.output(f"step {ctx.step.position}: {ctx.step.name}, attempt {ctx.step.attempt}\n")


async def maintain(engine: Engine, command: str | None) -> None:
    """Go on with the maintenance that is not completed, or begin a new one."""
    known = await engine.list(name_prefix="maintenance-", limit=100_000)
    if known and known[-1].state != "completed":
        last = known[-1]
        name = last.name
        if command is not None:
            await engine.update_context(name, {"command": command}, actor="demo", reason="--command")
        if last.state == "error":
            await engine.reset(name, actor="demo", reason="started again")
        was = "'s process has died" if last.state == "running" else f" is {last.state}"
        said = f"{name}{was}: it goes on at step {last.position} ({last.step}), what is before it is done"
    else:
        name = f"maintenance-{len(known) + 1:05}"
        for server in SERVERS:  # the world before it
            await StartApp().act(server, Context())
        context = {"servers": SERVERS, "command": command or COMMAND}
        await engine.create_workflow(name, context, [StopApp, RunCommand, StartApp, Verify])
        said = f"{name} begins"
    handle = await engine.start(name)  # refuses one that another process runs
    print(said)
    print(f"{name} is {(await handle).state}")


async def clean(engine: Engine) -> None:
    """Give up: delete what is not completed."""
    for known in await engine.list(name_prefix="maintenance-", limit=100_000):
        if known.state != "completed":
            await engine.delete(known.name, actor="demo", reason="--clean")
            print(f"{known.name} is deleted")


async def main(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit status."""
    if task := asyncio.current_task():
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, task.cancel)
    hint = "Start it again to go on where it was; bin/demo --clean gives up, and ends the servers."
    try:
        # Closing the engine pauses what runs, and cuts off its step at once.
        async with Engine(arguments.db, redirect=sys.stdout, shutdown_grace=0) as engine:
            engine.before_step(announce)
            await (clean(engine) if arguments.clean else maintain(engine, arguments.command))
            for server in SERVERS:  # leave no process behind
                print(f"the demo is over: {server}: {await StopApp().act(server, Context())}")
    except asyncio.CancelledError:
        print(f"Stopped. {hint}", file=sys.stderr)
        return 130
    except AwfeError as error:
        print(error, f"\n{hint}" if isinstance(error, (StepError, ErrorState)) else "", sep="", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", default="maintenance", type=Path, help="where it keeps everything (%(default)s)")
    parser.add_argument("--db", default="sqlite:///maintenance.db", help="the database, seen from DIR (%(default)s)")
    parser.add_argument("--command", help=f"what is run for each server ({COMMAND})")
    parser.add_argument("--clean", action="store_true", help="give up: delete what is not completed, end the servers")
    given = parser.parse_args()
    try:
        given.dir.mkdir(parents=True, exist_ok=True)
        os.chdir(given.dir)
    except OSError as error:
        sys.exit(f"--dir {given.dir}: {error.strerror}")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # who reads a pipe sees each line at once
    sys.exit(asyncio.run(main(given)))
