"""What to do next and for which stack: the queue, the workers, one stack's run."""
