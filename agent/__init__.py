"""The daemon: when to ask, where to keep and send the answers, and what if something fails."""

from importlib.metadata import version

__version__ = version("stationd")
