"""The verbs in any order, on two engines that crash, held against a pure model of the contract.

`--seed N` repeats a run, and a failure prints what repeats it alone. AWFE_TEST_LONG=1 tries ten times more.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from tests.databases import Database
from tests.durability.bench import Bench
from tests.durability.drawn import OFTEN, STEPS, VALUES, VERBS
from tests.durability.machine import NAMES
from tests.durability.model_values import Deed, Values
from tests.durability.sweep_settings import LONG
from tests.durability.verbs import Verbs

pytestmark = pytest.mark.long

EXAMPLES = 2000 if LONG else 200
# Two processes share them: no other test takes as long.
SHARES = 2


class Machine(Verbs):
    """Any verb of any workflow in any engine; one that would only find nothing to do is another one instead."""

    @initialize(workflows=st.lists(st.tuples(VALUES, STEPS), min_size=2, max_size=3))
    def begin(self, workflows: list[tuple[Values, list[Deed]]]) -> None:
        """Begin with some workflows."""
        for name, (values, deeds) in zip(NAMES, workflows, strict=False):
            self.create(0, name, values=values, deeds=deeds)

    # One rule, since Hypothesis leaves out some rules in each example, and most need a run.
    @rule(verb=st.sampled_from(OFTEN), engine=st.integers(0, 1), name=st.sampled_from(NAMES), data=st.data())
    def act(self, verb: str, engine: int, name: str, data: st.DataObject) -> None:
        """Do what a verb does."""
        verb = self.instead(verb, name)
        drawn: dict[str, Any] = {what: data.draw(strategy, label=what) for what, strategy in VERBS[verb].items()}
        getattr(self, verb)(engine, name, **drawn)


@pytest.fixture
def bench(database: Database) -> Iterator[Bench]:
    """Return two engines on the test's database."""
    made = Bench(database)
    yield made
    made.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(SHARES))
def test_the_verbs_do_what_the_contract_says(bench: Bench, seed: int, share: int) -> None:
    machine = type("Machine", (Machine,), {"bench": bench})
    run_state_machine_as_test(
        # Where Hypothesis chooses the seed by itself, in a CI, it chooses the same for all shares.
        seeded(seed + share)(machine),
        settings=settings(
            max_examples=EXAMPLES // SHARES,
            stateful_step_count=50,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
