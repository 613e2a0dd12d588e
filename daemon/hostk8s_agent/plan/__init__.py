"""Desired state and observed state in, a frozen plan out. Pure: no I/O, no clock, no thread."""
