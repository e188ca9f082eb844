"""What the model's machine draws."""

from typing import Any, Final

from hypothesis import strategies as st

from tests.durability.model_values import Deed

_Drawn = dict[str, st.SearchStrategy[Any]]
_KEYS = st.sampled_from(["a", "b"])
_CHANGES = st.tuples(st.sampled_from(["set", "unset"]), _KEYS) | st.just(("append", "log"))
_OPERATIONS = st.lists(_CHANGES, max_size=2).map(tuple)
DEEDS = st.builds(
    Deed,
    first=_OPERATIONS,
    saves=st.booleans(),
    then=_OPERATIONS,
    ends=st.lists(st.sampled_from(["ok", "fail", "hold", "hold", "wait"]), min_size=1, max_size=3).map(tuple),
    tries=st.integers(1, 3),
    delay=st.sampled_from([False, False, False, True]),
    skips=st.sampled_from([False, False, False, True]),
    rerun=st.booleans(),
    yields=st.sampled_from([False, False, True]),
)
STEPS = st.lists(DEEDS, min_size=1, max_size=3)
VALUES = st.dictionaries(_KEYS, st.integers(0, 9), max_size=2)
_UNSET = st.frozensets(st.sampled_from(["a", "b", "log"]), max_size=2)

_RUN: Final[_Drawn] = {"how": st.sampled_from(["run", "start"])}
_TELL: Final[_Drawn] = {"which": st.integers(0, 2), "how": st.sampled_from(["ok", "ok", "fail", "save"])}
_ASK: Final[_Drawn] = {"verb": st.sampled_from(["pause", "stop"])}
_RESET: Final[_Drawn] = {"keep": st.booleans(), "values": VALUES, "again": st.booleans()}
# Each verb, and what it is called with; what is there often is done often.
VERBS: Final[dict[str, _Drawn]] = {
    "run": _RUN,
    "tell": _TELL,
    "ask": _ASK,
    "reset": _RESET,
    "reset_from": {"first": st.integers(1, 4), "keep": st.sampled_from([False] * 9 + [True])} | _RESET,
    "skip": {"values": VALUES},
    "update_context": {"values": VALUES, "unset": _UNSET},
    "signal": {"payload": st.integers(0, 9)},
    "recover": {},
    "crash": {},
    "cancel": {"which": st.integers(0, 2)},
    "wait": {},
    "create": {"values": VALUES, "deeds": STEPS},
    "delete": {},
}
OFTEN: Final = (*VERBS, "run", "run", "tell", "tell", "tell", "ask", "reset", "reset_from", "crash")
