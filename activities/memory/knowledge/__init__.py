"""What the organisation has written down: read, cut into chunks, indexed by words and by meaning, and found again."""
