"""The delivery-conformance kit: a Core that drives a foreign runner through named checks and says what it found.

    cli ▸ run ▸ ground ▸ core (gRPC) · effects (HTTP) · process
                  │        └─ line ▸ referee, ledger (pure)
                  └─ checks/* (scripts) ▸ registry, findings (pure)

It comes with `pip install 'aisops-protocol[conformance]'`. How to use it: docs/delivery-conformance.md. Nothing here is
imported by Core or Runner.
"""
