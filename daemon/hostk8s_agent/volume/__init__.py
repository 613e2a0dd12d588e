"""Docker: the endpoint, the volume, and three ways to the directories in it."""
