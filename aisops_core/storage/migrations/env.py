"""Runs the revisions on the connection that `storage.migrate` hands over, in its transaction."""

from alembic import context

from aisops_core.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    compare_server_default=True,
)
context.run_migrations()
