"""The dashboard room: one page on loopback, for people. What it shows and does is the control API's.

- `service`: what is started and stopped, and who makes the links that open the page
- `keeping`, `sessions`: the key and the port across restarts; one-time links, and the cookies that they are changed for
- `binding`: a port on loopback
- `guarding`: what every request passes: the right host, the right page, a session
- `pages`, `app`: the files of the page, and where everything is
"""
