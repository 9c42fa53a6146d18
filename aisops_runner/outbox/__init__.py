"""What must survive a crash and reach Core: one SQLite file, its writer, and the rules of the durable lane."""
