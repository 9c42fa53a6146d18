"""Plugins written for the original product, as they are run and called."""
