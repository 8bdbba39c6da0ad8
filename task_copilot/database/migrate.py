"""Brings a database to the newest tables. Imported only when one is behind."""

from pathlib import Path

from alembic.command import upgrade
from alembic.config import Config
from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent / "migrations"


def configuration() -> Config:
    """Alembic's configuration, which needs no file of its own."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def migrate(connection: Connection) -> None:
    """Runs the missing steps in the transaction that `connection` is in."""
    config = configuration()
    config.attributes["connection"] = connection
    upgrade(config, "head")
