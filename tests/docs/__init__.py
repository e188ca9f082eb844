"""Tests of what readers copy: the README, the pages, the examples."""
