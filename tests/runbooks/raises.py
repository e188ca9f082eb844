"""A module that can't be imported."""

msg = "not on\nthis machine"
raise RuntimeError(msg)
