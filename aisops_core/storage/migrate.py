"""Brings a database to this version's schema. Blocking: call it before the event loop, or in a thread."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from aisops_core.errors import StorageVersionMismatch
from aisops_core.storage.engine import build_engine, typed
from aisops_core.storage.schema import HEAD_REVISION, metadata


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What `upgrade` did: revisions before ("" for an empty database) and after."""

    before: str
    after: str

    @property
    def changed(self) -> bool:
        """True when the schema was changed."""
        return self.before != self.after


def upgrade(url: str | URL) -> Upgrade:
    """Create the schema in an empty database, or migrate an older one. Repeating it changes nothing.

    Raises:
        ConfigError: The URL cannot be used.
        StorageUnavailable: The database cannot be reached or written.
        StorageVersionMismatch: The database is newer than this program.
    """
    engine = build_engine(url, writer=True)
    try:
        before = _current(engine)
        if before == "":
            _create(engine)
        elif before != HEAD_REVISION:
            _migrate(engine, before)
        return Upgrade(before, HEAD_REVISION)
    except DBAPIError as error:
        raise typed(error) from error
    finally:
        engine.dispose()


def current(url: str | URL) -> str:
    """The database's revision; "" when it is empty.

    Raises:
        ConfigError: The URL cannot be used.
        StorageUnavailable: The database cannot be reached.
    """
    engine = build_engine(url, writer=False)
    try:
        return _current(engine)
    except DBAPIError as error:
        raise typed(error) from error
    finally:
        engine.dispose()


def _current(engine: Engine) -> str:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return ""
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def _create(engine: Engine) -> None:
    # The whole schema at once, without Alembic, whose import alone takes longer than this.
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.execute(
            text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"),
        )
        connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": HEAD_REVISION})


def _migrate(engine: Engine, before: str) -> None:
    from alembic.util.exc import CommandError

    try:
        with engine.begin() as connection:
            run_migrations(connection, HEAD_REVISION)
    except CommandError as error:
        raise StorageVersionMismatch(
            f"The database is at revision {before!r}, which this version does not know."
        ) from (error)


def run_migrations(connection: Connection, target: str) -> None:
    """Run Alembic's migrations up to `target` inside the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "aisops_core.storage:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, target)
