"""The published description of the program's interfaces, generated from its declarations."""
