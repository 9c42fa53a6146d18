"""Runners: who exists, what each offers, and which session of it is the newest."""
