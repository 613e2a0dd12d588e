"""The restic engine: the streams of directories in a restic repository, wherever restic reaches (docs/adr/0007)."""
