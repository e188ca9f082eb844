"""Nothing lost, nothing twice: under crashes, faults and bad networks; and without each protection, something."""
