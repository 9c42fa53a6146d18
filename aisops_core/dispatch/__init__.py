"""Dispatch: jobs from submission to their one recorded result, and the Runner sessions that carry them.

`job`, `matching` and `lease` are the rules; `store`, `claims` and `ingest` are the SQL; `sessions` knows who is
connected; `dispatcher` joins them and is what the doors call.
"""
