"""Plays the instruments of a configuration on real ports, so that a station runs where there is no analyzer."""
