"""How random tests are drawn."""

from hypothesis import settings

settings.register_profile("unit", max_examples=100, deadline=None, derandomize=False, print_blob=True)
settings.load_profile("unit")
