"""The routes of a sidecar, matched on the raw path. Pure."""

from dataclasses import dataclass
from typing import Literal

from aisops_plugin_sdk import batch
from aisops_plugin_sdk.server.answers import MethodRefused, Refusal

RouteName = Literal[
    "probe",
    "healthz",
    "readyz",
    "describe",
    "check",
    "invoke",
    "batch",
    "inbound",
    "cancel",
    "shutdown",
    "send",
    "alimtalk",
]
INVOKE_PREFIX = "/v1/invoke/"
CANCEL_PREFIX = "/v1/cancel/"


@dataclass(frozen=True, slots=True)
class Route:
    """A matched route. `argument` is the last path segment, still percent-encoded, where the route has one."""

    name: RouteName
    method: str
    signed: bool = True
    argument: str = ""


_FIXED: dict[str, Route] = {
    "/probe": Route("probe", "POST", signed=False),
    "/healthz": Route("healthz", "GET", signed=False),
    "/readyz": Route("readyz", "GET", signed=False),
    "/describe": Route("describe", "GET"),
    "/v1/config/check": Route("check", "GET"),
    batch.TARGET: Route("batch", "POST"),
    "/v1/shutdown": Route("shutdown", "POST"),
    "/send": Route("send", "POST"),
}
_INBOUND = Route("inbound", "POST")
_ALIMTALK = Route("alimtalk", "POST")


def find_route(method: str, path: str, *, alimtalk: bool, inbound: bool = False) -> Route:
    """Match a request.

    Args:
        method: the HTTP method.
        path: the raw path.
        alimtalk: the plugin offers `kakao.alimtalk.send` and so its own route.
        inbound: it has webhooks, and so the route by which the Runner asks for their events.

    Raises:
        Refusal: 404 no such path; `MethodRefused` 405 the path takes another method.
    """
    route = _INBOUND if inbound and path == "/v1/inbound" else _match(path, alimtalk=alimtalk)
    if route is None:
        raise Refusal(404, "not_found", "no such path")
    if method != route.method:
        raise MethodRefused(route.method)
    return route


def _match(path: str, *, alimtalk: bool) -> Route | None:
    """Match the path alone."""
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    if alimtalk and path == "/kakao/alimtalk/send":
        return _ALIMTALK
    prefixes: tuple[tuple[str, RouteName], ...] = ((INVOKE_PREFIX, "invoke"), (CANCEL_PREFIX, "cancel"))
    for prefix, name in prefixes:
        rest = path.removeprefix(prefix)
        if rest != path and rest and "/" not in rest:
            return Route(name, "POST", argument=rest)
    return None
