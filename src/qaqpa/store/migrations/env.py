"""Alembic's entry: migrations always run on a connection that the store hands over, in its transaction."""

from alembic import context

from qaqpa.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
