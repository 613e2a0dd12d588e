"""The one model that the socket, the page, the CLI and the metrics all show."""
