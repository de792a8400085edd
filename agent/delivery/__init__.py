"""Delivery: what is stored goes to the platform, the present first, and what the platform asks for again."""
