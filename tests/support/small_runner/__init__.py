"""A second, small Runner over the protocol package alone, and the ways in which it can be made wrong.

It shares no code with `aisops_runner`, so that the delivery-conformance kit is tried on two implementations; and it
breaks one promise at a time on demand (`faults`), so that each check is seen to fail.
"""
