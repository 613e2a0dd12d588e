"""Kubernetes: the connection, the list+watch mirror, server-side apply, errors in our words."""
