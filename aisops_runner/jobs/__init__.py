"""Jobs at the Runner: their life as a pure machine, their journal on disk, and the driver that runs them."""
