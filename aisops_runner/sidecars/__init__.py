"""Plugin processes: started, watched, called over signed HTTP, restarted, and never left behind."""
