"""The dependency graph of every environment, as it is and as it was."""
