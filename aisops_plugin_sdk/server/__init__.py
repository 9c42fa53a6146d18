"""The sidecar server: the HTTP/JSON face of one plugin, on loopback."""
