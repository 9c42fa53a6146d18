"""Audit: who did what, append-only, each tenant's records chained by hash so that tampering shows."""
