"""The serving room: an HTTP server in a thread of its own, which sleeps while nobody asks.

- `server`: uvicorn in a thread and an event loop, without its ten wake-ups a second
- `connections`: how long one connection may take to say something
"""
