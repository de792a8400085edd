"""Spool files that were put aside: what still reads of them is copied into the new spool."""
