"""Plugins written for the original product, as they are found: manifests, programs, addresses."""
