"""Builds a running Core from its parts. They start in the order written and stop in reverse, within ten seconds."""

from __future__ import annotations

import asyncio
import random
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from aisops_core.api.batches import BatchEndpoints
from aisops_core.api.direct import DirectLane, Targets
from aisops_core.api.health import Readiness
from aisops_core.api.jobs import JobEndpoints
from aisops_core.api.metrics import Figures, Metrics
from aisops_core.api.routing import ROOT, routes_of
from aisops_core.api.runners import RunnerEndpoints
from aisops_core.api.server import ApiServer, build_application, build_tls
from aisops_core.app.administration import Administration, administer, prepare
from aisops_core.app.data_folder import ENDPOINTS_NAME, LOCK_NAME, exclusive, write_endpoints, write_private
from aisops_core.app.figures import JobFigures
from aisops_core.clock import Clock, SystemClock
from aisops_core.config import Address, CoreConfig
from aisops_core.dispatch.clearer import Clearer
from aisops_core.dispatch.dispatcher import Dispatcher
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.retention import RetentionTerms
from aisops_core.errors import ConfigError, Unavailable
from aisops_core.identity.store import TokenStore
from aisops_core.identity.watch import CredentialWatch
from aisops_core.rpc.server import RpcServer, TlsFiles
from aisops_core.rpc.servicer import Servicer
from aisops_core.runners.store import RunnerStore
from aisops_core.storage.engine import Store
from aisops_core.storage.meta import probe
from aisops_core.tenants.principal import Principal, PrincipalKind

log = structlog.get_logger("aisops_core.app")

DRAIN_S = 4.0
RPC_STOP_S = 2.0


class AddressUnavailable(Unavailable):
    """A door cannot listen where it should."""

    code = "address_unavailable"
    default_advice = "Stop what listens there, or choose another address with --http or --grpc (port 0: any free one)."


@dataclass(frozen=True, slots=True)
class Core:
    """A running Core. The token or its file is set on the very first start only."""

    http_url: str
    grpc_address: str
    admin_token: str | None = None
    admin_token_path: Path | None = None


def _authenticator(tokens: TokenStore, kind: PrincipalKind) -> Callable[[str], Awaitable[Principal]]:
    async def authenticate(text: str) -> Principal:
        return await tokens.authenticate(text, kind)

    return authenticate


def _locks(config: CoreConfig) -> list[Path]:
    """One Core per folder, and one per SQLite file, wherever that is."""
    locks = [config.data_dir / LOCK_NAME]
    if config.database and config.database_url.startswith("sqlite:///"):
        locks.append(Path(config.database_url.removeprefix("sqlite:///") + ".lock"))
    return locks


async def _first_token(administration: Administration, config: CoreConfig) -> tuple[str | None, Path | None]:
    """Make the first admin token; write it to the file when one is configured, else return it to be shown."""
    token = await administration.first_admin_token()
    if token is None or config.admin_token_file is None:
        return token, None
    await asyncio.to_thread(write_private, config.admin_token_file, token + "\n")
    return None, config.admin_token_file


def _http_tls(config: CoreConfig) -> ssl.SSLContext | None:
    if config.tls_cert is None or config.tls_key is None:
        return None
    for path in filter(None, (config.tls_cert, config.tls_key, config.tls_client_ca)):
        try:
            path.open("rb").close()  # what ssl raises does not name the file
        except OSError as error:
            raise ConfigError(f"Cannot read the TLS file {path}: {error.strerror}.") from None
    try:
        client_ca = str(config.tls_client_ca) if config.tls_client_ca else None
        context = build_tls(str(config.tls_cert), str(config.tls_key), client_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"The TLS files cannot be used: {error}.") from None
    return context if config.http_tls else None


def _rpc_tls(config: CoreConfig) -> TlsFiles | None:
    if config.tls_cert is None or config.tls_key is None:
        return None
    return TlsFiles(config.tls_cert, config.tls_key, config.tls_client_ca)


def _readiness(store: Store, rpc: RpcServer) -> Readiness:
    async def store_answers() -> str | None:
        await store.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
        if store.failing:  # a full disk reads well; writing a little tells when it is over
            await store.write(probe)
        return None

    async def rpc_listens() -> str | None:
        return None if rpc.listening else "not listening"

    return Readiness({"store": store_answers, "rpc": rpc_listens})


def _recogniser(tokens: TokenStore) -> Callable[[str], bool]:
    return lambda token: tokens.recognise(token, "api") is not None


@asynccontextmanager
async def build(
    config: CoreConfig,
    *,
    version: str,
    clock: Clock | None = None,
    rng: random.Random | None = None,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> AsyncIterator[Core]:
    """Start a Core and stop it in order at the end.

    Raises ConfigError when the settings or the data folder cannot be used, Unavailable when the database or an address
    cannot be had. Then nothing is left running.
    """
    clock, rng = clock or SystemClock(), rng or random.SystemRandom()
    http_tls, rpc_tls = _http_tls(config), _rpc_tls(config)
    prepare(config)
    async with AsyncExitStack() as stack:
        for lock in _locks(config):
            stack.enter_context(exclusive(lock))
        administration = await stack.enter_async_context(administer(config, clock=clock, random_bytes=random_bytes))
        store, tokens = administration.store, administration.tokens
        token, token_path = await _first_token(administration, config)
        runners = RunnerStore(store, clock)
        if store.embedded:
            await runners.forget_connections()

        dispatcher = Dispatcher(
            store,
            clock,
            random_bytes=random_bytes,
            terms=LeaseTerms(config.lease_s, config.reconnect_grace_s, config.accept_timeout_s),
            replica=config.replica,
            heartbeat_s=config.heartbeat_s,
        )
        await dispatcher.start()
        stack.push_async_callback(dispatcher.stop)
        clearer = _clear(stack, Clearer(store, clock, _retention(config)))

        credentials = CredentialWatch(store, clock)
        tokens.on_revoke(credentials.hurry)
        await credentials.start()
        stack.push_async_callback(credentials.stop)

        servicer = Servicer(_authenticator(tokens, "runner"), credentials, dispatcher, clock)
        rpc = RpcServer(servicer, str(config.grpc), rpc_tls, rng)
        await _listen(rpc, config.grpc)
        stack.push_async_callback(rpc.stop, RPC_STOP_S)

        jobs = JobEndpoints(dispatcher, queue_ttl_s=config.queue_ttl_s)
        readiness = _readiness(store, rpc)
        metrics = _metrics(version, JobFigures(store, clock), clearer.figures, servicer.figures, dispatcher.figures)
        parts = (jobs, BatchEndpoints(dispatcher, queue_ttl_s=config.queue_ttl_s), RunnerEndpoints(runners, tokens))
        routes, authenticate = routes_of(parts), _authenticator(tokens, "api")
        app = build_application(routes, authenticate, readiness, metrics, version=version, tls=config.http_tls)
        api = ApiServer(
            app,
            DirectLane(Targets(routes, ROOT), authenticate, _recogniser(tokens), metrics, tls=config.http_tls),
            config.http.host,
            config.http.port,
            http_tls,
        )
        await _listen(api, config.http)
        stack.push_async_callback(api.stop)
        stack.push_async_callback(rpc.drain, DRAIN_S)
        stack.callback(jobs.stop)
        stack.callback(readiness.stop)

        core = _announce(config, api.port, rpc.port, token, token_path)
        log.info("core started", http=core.http_url, grpc=core.grpc_address, version=version)
        yield core
        _say_stopping(store)


def _say_stopping(store: Store) -> None:
    log.info("core stopping")
    if store.failing:
        log.error("stopping although the database takes nothing; what was refused since then is not stored")


def _metrics(version: str, jobs: JobFigures, *others: Figures) -> Metrics:
    counted = dict(jobs.figures)
    for figures in others:
        counted.update(figures)
    return Metrics(version, counted, jobs.refresh)


def _retention(config: CoreConfig) -> RetentionTerms:
    return RetentionTerms(config.retain_jobs_s, config.retain_uncertain_s, config.retain_logs_s, config.retain_events_s)


def _clear(stack: AsyncExitStack, clearer: Clearer) -> Clearer:
    """Start the clearer."""

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    task = asyncio.create_task(clearer.run(), name="clearer")
    stack.push_async_callback(stop)
    return clearer


async def _listen(server: ApiServer | RpcServer, address: Address) -> None:
    try:
        await server.start()
    except OSError as error:
        raise AddressUnavailable(f"Cannot listen on {address}: {error.strerror or error}.") from None


def _announce(config: CoreConfig, http_port: int, grpc_port: int, token: str | None, token_path: Path | None) -> Core:
    """Write the real addresses to the data folder and return them."""
    scheme = "https" if config.http_tls else "http"
    http_url = f"{scheme}://{Address(config.http.host, http_port)}"
    grpc_address = str(Address(config.grpc.host, grpc_port))
    write_endpoints(
        config.data_dir / ENDPOINTS_NAME,
        {"http": http_url, "grpc": grpc_address, "http_port": http_port, "grpc_port": grpc_port},
    )
    return Core(http_url, grpc_address, token, token_path)
