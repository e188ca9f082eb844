"""What a workflow is and what can happen to it: pure values, no I/O."""
