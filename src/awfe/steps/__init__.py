"""Steps that most runbooks need."""

from awfe.steps.sql import Sql

__all__ = ["Sql"]
