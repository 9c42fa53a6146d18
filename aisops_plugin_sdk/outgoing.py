"""How the requests of one plugin leave: its egress list, the environment's proxies, and the clients it made."""

from collections.abc import Mapping
from typing import Any

from aisops_plugin_sdk.egress import Egress
from aisops_plugin_sdk.http_client import Http
from aisops_plugin_sdk.secret import Secret

MAX_CLIENTS = 64


class Outgoing:
    """Makes the clients of one plugin and closes them.

    Args:
        egress: where requests may go.
        environ: proxies and the file of authorities.
        dry_run: nothing may leave.
    """

    def __init__(self, egress: Egress, environ: Mapping[str, str], *, dry_run: bool) -> None:
        self._egress = egress
        self._environ = environ
        self._dry_run = dry_run
        self._clients: dict[object, Http] = {}

    def client(
        self, base_url: str, *, bearer: Secret | None, headers: Mapping[str, str | Secret] | None, **options: Any
    ) -> Http:
        """Give the client for these options: the same one for the same options, so that calling often costs nothing.

        Raises:
            RuntimeError: the plugin asks for more than 64 different ones.
            PluginError: as `Http`.
        """
        key = (base_url, bearer, tuple(sorted((headers or {}).items())), tuple(sorted(options.items())))
        client = self._clients.get(key)
        if client is not None:
            return client
        if len(self._clients) >= MAX_CLIENTS:
            raise RuntimeError(f"more than {MAX_CLIENTS} different HTTP clients; make them in on_start and keep them")
        made = Http(
            base_url,
            egress=self._egress,
            environ=self._environ,
            dry_run=self._dry_run,
            bearer=bearer,
            headers=headers,
            **options,
        )
        self._clients[key] = made
        return made

    async def close(self) -> None:
        """Close every connection of every client."""
        for client in self._clients.values():
            await client.close()
