"""The command line of the Runner: `aisops-runner`."""
