"""That one engine runs a workflow, and hears what others ask of it."""

import asyncio
import time
from typing import Final

from sqlalchemy import URL

from awfe import urls
from awfe.engine import Engine
from awfe.errors import StoreUnavailable, WorkflowLocked, WorkflowPaused, WorkflowStopped
from awfe.testing.conformance.bed import ENGINES_LOG, LOG, Bed, check, expect, raises
from awfe.testing.crashes import crash
from awfe.testing.proxy import Proxy

_BOTH: Final = ["hold", "note"]
_SOON: Final = 20.0


@check("two processes may do the work of one step at the same time; give locks='lease', or a lock_url to one server")
async def one_engine_runs_a_workflow(bed: Bed) -> None:
    """Others are told that it is locked, again and again, and disturb nothing."""
    one, other = await bed.engine(), await bed.engine()
    held = await bed.hold(one)
    for _ in range(3):
        await raises(WorkflowLocked, other.run(held.name), "a second engine was not told that a workflow runs already")
        await asyncio.sleep(one.settings.takeover_delay)
    held.gate.opened.set()
    await held.handle
    expect(held.gate.calls == _BOTH, f"the steps of one run were {held.gate.calls}, not {_BOTH}")


@check("what has run once may stay locked until its process ends; give locks='lease', or a lock_url to one server")
async def a_lock_is_given_back(bed: Bed) -> None:
    """Whoever comes next has it at once."""
    one, other = await bed.engine(), await bed.engine()
    held = await bed.hold(one)
    await one.pause(held.name)
    held.gate.opened.set()
    await raises(WorkflowPaused, held.handle, "a run that was asked to pause did not")
    try:
        await other.run(held.name)
    except WorkflowLocked as error:
        msg = f"a workflow was still locked after its run had ended ({error})"
        raise AssertionError(msg) from error
    expect(held.gate.calls == _BOTH, f"the steps of two runs were {held.gate.calls}, not {_BOTH}")


@check("a connection that ends may cost a healthy run; give a greater takeover_delay, or locks='lease'")
async def a_lock_that_is_lost_is_taken_again(bed: Bed) -> None:
    """The connections of the locks end, and nobody takes the workflow from its runner.

    It needs a server that takes TCP without TLS, from a proxy in this process; elsewhere it logs that it can't try.
    """
    target = urls.resolve(bed.settings.get("lock_url") or bed.url)
    if target.get_backend_name() == "sqlite":
        return
    proxy = await bed.enter(Proxy(target))
    if not await _passes(bed, proxy, target):
        LOG.warning("not tried: that a lock which is lost is taken again; it needs TCP without TLS")
        return
    one, other = await bed.engine(lock_url=proxy.url), await bed.engine(takeover_delay=2.0)
    held = await bed.hold(one)
    await proxy.cut()
    await proxy.mend()
    await raises(WorkflowLocked, other.run(held.name), "a lock whose connection had ended was not taken again")
    held.gate.opened.set()
    await held.handle
    expect(held.gate.calls == _BOTH, f"the steps of a run were {held.gate.calls}, not {_BOTH}")


async def _passes(bed: Bed, proxy: Proxy, target: URL) -> bool:
    if not target.host or any("ssl" in name or name in ("host", "unix_socket") for name in target.query):
        return False
    settings = bed.settings | {"locks": "lease", "lock_url": proxy.url, "connect_retry_for": 0}
    try:
        async with Engine(bed.url, logger=ENGINES_LOG, **settings):
            return True
    except StoreUnavailable:
        return False


@check("what a process was running when it died stays locked; see what keeps its sessions open, or give locks='lease'")
async def the_lock_of_a_dead_process_is_free(bed: Bed) -> None:
    """Soon: as soon as the server sees that its connection has ended, or when its lease is over."""
    limits = {"lock_heartbeat": 0.5, "lock_limit": 3.0}
    dying, other = await bed.engine(**limits), await bed.engine(**limits)
    held = await bed.hold(dying, on_interrupt="rerun")
    await crash(dying)
    await raises(StoreUnavailable, held.handle, "a run went on in an engine that is dead")
    held.gate.opened.set()
    until = time.monotonic() + _SOON
    while True:
        try:
            await other.run(held.name)
            break
        except WorkflowLocked as error:
            expect(time.monotonic() < until, f"{_SOON:g} s after its process had died, a workflow was locked ({error})")
        await asyncio.sleep(0.1)
    expect(held.gate.calls == ["hold", *_BOTH], f"after a takeover the steps were {held.gate.calls}")


@check("an operator's pause or stop may never reach the process that runs the workflow")
async def a_pause_and_a_stop_arrive(bed: Bed) -> None:
    """What one engine runs, another one steers."""
    one, other = await bed.engine(), await bed.engine()
    held = await bed.hold(one, "paused")
    await other.pause(held.name)
    held.gate.opened.set()
    await raises(WorkflowPaused, held.handle, "a pause from another engine had returned, and the run went on")
    expect(held.gate.calls == ["hold"], "a step began after a pause from another engine had returned")
    held = await bed.hold(one, "stopped")
    await other.stop(held.name)
    await raises(WorkflowStopped, held.handle, "a stop from another engine had returned, and the run went on")
    expect((await other.get(held.name)).state == "stopped", "a stop from another engine was not stored")
