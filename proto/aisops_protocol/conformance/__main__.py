"""`python -m aisops_protocol.conformance`."""

from aisops_protocol.conformance.cli import main

if __name__ == "__main__":
    main()
