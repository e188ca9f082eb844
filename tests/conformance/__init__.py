"""What awfe promises, shown on every database."""
