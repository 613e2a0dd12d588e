"""The metrics room: the figures that Prometheus reads. docs/metrics.md lists them all.

- `observing`: counts what happens, where it happens: the reconciler tells it
- `collecting`: what is true now, read off the status when somebody asks
- `exposition`: both in one text
"""
