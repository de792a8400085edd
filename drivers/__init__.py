"""The instruments: what to ask them, and what their answers mean. Imports nothing of `agent`."""
