"""Benches: the load, the counter and the judge, all outside the daemon."""
