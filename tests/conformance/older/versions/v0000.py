"""Schema 0, which the tests make from schema 1 by the `downgrade` of that."""

revision = "0000"
down_revision = None
