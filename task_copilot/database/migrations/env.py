"""What Alembic runs: the steps, on the connection and in the transaction of the caller."""

from alembic import context

from task_copilot.database.tables import VERSION_TABLE

connection = context.config.attributes["connection"]
# A SQLite file has had Alembic's usual name from the beginning. On PostgreSQL another program
# may have a table of that name.
name = VERSION_TABLE if connection.dialect.name == "postgresql" else "alembic_version"
context.configure(connection=connection, transactional_ddl=True, version_table=name)
context.run_migrations()
