"""What the Runner can do: calls and outcomes, the pluggy host, and discovery without importing vendor code."""
