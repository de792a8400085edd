"""A station made of simulated instruments, to see the real daemon at work."""
