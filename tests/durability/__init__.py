"""Nothing lost, nothing twice: crashes, faults, cancellations and bad networks, and what awfe is without each protection."""
