"""Alembic's entry: migrates over the connection it is handed."""

from alembic import context

from edgewright.service.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Table.metadata, render_as_batch=True
)
context.run_migrations()
