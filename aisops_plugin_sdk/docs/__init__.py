"""Writes a plugin's documentation from its models: tables for its README, a page for each capability, examples."""
