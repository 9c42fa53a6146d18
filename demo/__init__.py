"""The demo: the main job on one machine, with stand-ins of the four providers. Run it with `make demo`."""
