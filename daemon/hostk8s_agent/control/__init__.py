"""The control room: HTTP and JSON over a Unix socket, one for each workspace.

- `ports`: what this room asks of the agent
- `lock`, `holders`: one agent a workspace, and who it is
- `places`, `peers`: where the socket is, and who is at its other end
- `listening`, `connections`, `server`: the serving side, in a thread of its own
- `app`, `guarding`, `requests`, `rendering`: the resources, what every request passes, JSON in and out
- `client`, `wire`: the asking side, of the standard library alone
- `errors`: what can go wrong, with stable codes
"""
