"""Stand-ins of the four providers: real servers on loopback that speak the providers' documented shapes.

They serve the demo, the plugins' tests and the end-to-end and fault tests. Each keeps what it accepted, enforces the
provider's documented limits, and can be told to misbehave (`faults.py`). Nothing of the product is imported here.
"""
