"""The tests of awfe."""
