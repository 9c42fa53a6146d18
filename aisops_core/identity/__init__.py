"""Identity: tokens, how they are made, kept and checked."""
