"""Alembic's environment and revisions, as package data."""
