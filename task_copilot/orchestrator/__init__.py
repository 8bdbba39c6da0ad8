"""Runs a worker for each stream that is ready, driven by events.

`machine` decides and touches nothing; `run` does what it decides; the others are its hands.
"""
