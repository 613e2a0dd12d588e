"""Is everything as the agent needs it? Checks, each with a verdict and the command that mends it."""
