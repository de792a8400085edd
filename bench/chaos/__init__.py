"""Every fault that a station meets, one after the other and in pairs, around a real daemon."""
