"""What a user would pick instead, each with its documented fastest settings and nothing else.

All of them, and this program beside them, do the same job with the same events, and are told what
to publish in the same words: see `control` for Python and `control.mjs` for Node.
"""
