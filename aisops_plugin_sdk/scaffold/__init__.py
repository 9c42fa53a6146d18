"""Makes the folder of a new plugin from the templates beside this file."""
