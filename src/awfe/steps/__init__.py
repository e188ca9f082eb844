"""Steps that most runbooks need. What an extra brings is imported when such a step runs."""

from awfe.steps.each import ForEach

__all__ = ["ForEach"]
