"""`aisops-runner plugin …`: what customers do with plugins. No plugin code runs in any of these processes."""
