"""The pure part: no loop but a test's own, no database."""
