"""Telling someone: what lasts, fails or is suspect is told on the desktop, to a webhook or to a command."""
