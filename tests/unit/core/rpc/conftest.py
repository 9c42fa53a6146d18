"""The driven stream, for every test of the gRPC end."""

from tests.support.stream_link import dispatcher, link

__all__ = ["dispatcher", "link"]
