"""The technician's kit: what the commands do that look, ask, write files or try; nothing of it runs in the daemon."""
