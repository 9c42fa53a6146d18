"""Tenants: the isolation boundary that owns Runners, jobs and tokens, and the principals that act within it."""
