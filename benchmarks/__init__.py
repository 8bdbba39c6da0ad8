"""Measurements of the program against its targets; `__main__` says how to run them."""
