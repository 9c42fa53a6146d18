"""The gRPC door: one stream per Runner. One table maps why a stream ends to its status."""
