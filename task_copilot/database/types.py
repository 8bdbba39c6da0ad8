"""Types of columns that are the same on every database."""

import sqlalchemy as sa

Integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64 bits. SQLite's integers have them anyway, and only its INTEGER can number rows."""

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared and sorted by its bytes in UTF-8, as SQLite does, whatever the server's language:
times sort by time, and only capitals of A to Z have small letters."""
