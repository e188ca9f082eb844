"""Chaos: several processes run workflows while they, their connections and their server are killed again and again.

`python -m awfe.testing.chaos --url … --seconds … --seed …`, or `await run(Plan(…))`. Everything that a step or a caller
saw is written down, and compared with the tables in the end: nothing may be there twice, missing, or lost.
"""

from awfe.testing.chaos.director import ChaosRefusedError, run
from awfe.testing.chaos.plan import PACE, Plan
from awfe.testing.chaos.report import Report

__all__ = ["PACE", "ChaosRefusedError", "Plan", "Report", "run"]
