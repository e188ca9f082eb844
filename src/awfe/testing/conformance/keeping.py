"""That what is stored comes back as it was."""

from datetime import datetime, timedelta, timezone
from typing import Final

from awfe.errors import WorkflowExists
from awfe.testing.conformance.bed import Bed, check, expect, raises
from awfe.testing.conformance.steps import keep

_TEXT: Final = "\U0001f680 \u00e9 e\u0301 'one' \"two\" `three` \\ \\n % %s :name ? {x} \x00 \t\r\n \u2028 end "
# Of what a step prints awfe itself keeps NUL as four characters.
_PRINTED: Final = _TEXT.replace("\x00", "")
_NAMES: Final = ("A", "A ", "a", "a ", "ss", "\u00df", "\u00e1", "a\u0301", "\U0001f680", "\U0001f681", "'\"\\%_")
_LARGE: Final = 2_000_000


@check("a deploy or a crash may cost what a step has saved: don't use awfe on this database")
async def a_checkpoint_outlasts_its_engine(bed: Bed) -> None:
    """What was saved in the middle of a step is there when its engine is gone, and what was not is not."""
    one, other = await bed.engine(shutdown_grace=0.0), await bed.engine()
    held = await bed.hold(one, on_interrupt="rerun")
    await one.close()
    found = (await other.get(held.name)).context
    expect(found == {"saved": True}, f"a step had saved 'saved' and was cut off: the context is {found}")
    held.gate.opened.set()
    ended = await other.run(held.name)
    expect(held.gate.calls == ["hold", "hold", "note"], f"after a close the steps were {held.gate.calls}")
    expect(ended.context == {"saved": True, "held": True}, f"after a close the context was {ended.context}")


@check("awfe takes two workflows for one: the column `name` needs the collation that awfe gives it")
async def names_are_compared_by_their_bytes(bed: Bed) -> None:
    """Case, accents and spaces at the end tell them apart, and they are listed by code points."""
    engine = await bed.engine()
    names = sorted(bed.name(ending) for ending in _NAMES)
    for name in names:
        ending = name.removeprefix(bed.prefix)
        try:
            await engine.create_workflow(name, {"ending": ending}, [keep({})])
        except WorkflowExists as error:
            msg = f"names that end in {_like(ending)} are one name here"
            raise AssertionError(msg) from error
    for name in names:
        ending = name.removeprefix(bed.prefix)
        found = (await engine.get(name)).context["ending"]
        expect(found == ending, f"asked for the name that ends in {ending!a}, it gave that which ends in {found!a}")
        await raises(WorkflowExists, engine.create_workflow(name, {}, [keep({})]), f"{ending!a} was there twice")
    listed = [summary.name for summary in await engine.list(name_prefix=bed.prefix)]
    expect(listed == names, "names are not in the order of their code points")


def _like(ending: str) -> str:
    return f"{ending!a} and one of {', '.join(ascii(name) for name in _NAMES if name != ending)}"


@check("awfe would give steps other values than they have saved: the tables need utf8mb4, or UTF-8")
async def text_is_kept_as_it_is(bed: Bed) -> None:
    """Emoji, quotes, backslashes, NUL and line ends, as keys, values, arguments and output."""
    one, other = await bed.engine(), await bed.engine()
    await one.create_workflow(
        bed.name(), {"first": _TEXT}, [keep({_TEXT: [_TEXT]}, _PRINTED)], reason="caf\u00e9 \U0001f680"
    )
    await one.run(bed.name())
    workflow, (created, *_) = await other.get(bed.name()), await other.history(bed.name())
    expect(workflow.context == {"first": _TEXT, _TEXT: [_TEXT]}, "text in the context has come back as other text")
    expect(workflow.steps[0].args["values"] == {_TEXT: [_TEXT]}, "text in arguments has come back as other text")
    expect(workflow.steps[0].output == _PRINTED, "the output of a step has come back as other text")
    expect(created.reason == "caf\u00e9 \U0001f680", "the reason in the history has come back as other text")


@check("contexts of this size can't be used: see max_allowed_packet, and what a proxy lets through")
async def a_large_context_is_kept(bed: Bed) -> None:
    """2 MB that a step saves come back whole."""
    one, other = await bed.engine(), await bed.engine()
    large = "0123456789abcde\n" * (_LARGE // 16)
    await one.create_workflow(bed.name(), {"large": large}, [keep({"other": 1}), keep({"large": large[::-1]})])
    await one.run(bed.name())
    found = (await other.get(bed.name())).context["large"]
    expect(found == large[::-1], f"of {_LARGE} characters {len(found)} came back, or others")


@check("what waits is woken at another time, and histories tell other times: see the type of the column")
async def times_keep_microseconds(bed: Bed) -> None:
    """A time of any zone comes back as the same moment."""
    one, other = await bed.engine(), await bed.engine()
    for number, offset in enumerate((-11.5, 0, 5.75)):
        at = datetime(2222, 2, 28, 23, 59, 59, 999_999 - number, tzinfo=timezone(timedelta(hours=offset)))
        await one.create_workflow(bed.name(str(number)), {}, [keep({})], at=at)
        found = (await other.get(bed.name(str(number)))).scheduled_at
        expect(found == at, f"the time {at} has come back as {found}")
