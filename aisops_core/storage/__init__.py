"""Storage: the tables, the two engines that hold them, and the one way to write and to read (`Store`).

A unit of work is a plain function of one connection. Units are collected and committed in groups by one thread, so that
one fsync pays for many; see `committer`.
"""
