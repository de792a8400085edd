"""The daemon: when to ask, where to keep and send the answers, and what if something fails."""

__version__ = "0.2.0.dev0"
"""Stands here and not in the package's metadata alone: to ask for those takes the daemon a megabyte."""
