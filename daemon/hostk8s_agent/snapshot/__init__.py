"""Snapshots: capture, the repository, verification and restore of what is in a stack's directories."""
