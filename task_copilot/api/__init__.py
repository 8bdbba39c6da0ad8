"""The HTTP API: every route declared once, with what it takes and what it answers."""
