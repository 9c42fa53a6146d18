"""The task queues we measure beside us, each with its own server, worker and submitting process."""
