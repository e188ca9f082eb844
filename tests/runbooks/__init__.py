"""Tests of runbooks: files that are right, and many that are not."""
