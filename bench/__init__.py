"""The benchmark: our durable path beside its limits and beside Celery, in one run on one machine. `make bench`."""
