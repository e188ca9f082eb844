"""A test-bed for awfe and for programs that use it: crash points, faults, a bad network, and a checker."""
