"""Why there is no session, in words."""

from __future__ import annotations

import socket
import ssl


class SessionLost(Exception):
    """There is no session, or no longer; the text says why. `is_taken_over`: another client uses our client id."""

    def __init__(self, text: str, *, is_taken_over: bool = False) -> None:
        super().__init__(text)
        self.is_taken_over = is_taken_over


def why(error: BaseException) -> str:
    """Put what keeps a connection from standing into words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return f"its name cannot be resolved: {error.strerror}"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return "does not answer"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
