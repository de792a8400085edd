"""The spool: records on the card until they are delivered and past it, and what is done when the card is damaged."""
