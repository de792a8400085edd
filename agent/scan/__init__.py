"""`stationd scan`: finds out what is connected to a line, by listening and by asking what only reads."""
