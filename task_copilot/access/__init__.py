"""Who is let in, and how much of what is sent is taken."""
