"""What sources of commits share: whose a path is, how a commit becomes changes, what a flag file says."""
