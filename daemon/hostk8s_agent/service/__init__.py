"""The agent as a service: systemd and launchd, what they are told, and what watches that its threads go on."""
