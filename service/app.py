"""The composition root of the HTTP face: parts in, a served application out.

Nothing below reads the environment or makes a part for itself. Who starts a process opens the log and the store, calls
`make_parts`, then `start_face`; what is started here is stopped by `Face.stop`, what was handed in stays the caller's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from backbone.admin import add_health_routes, build_admin
from backbone.clocks import SYSTEM_CLOCK, Clock
from backbone.eventlog.port import EventLog
from backbone.health import Check, Health
from backbone.listening import Listener, listen
from backbone.metrics import Metrics
from backbone.settings import Settings
from backbone.store.accounts import AccountRepository
from backbone.store.engine import Store
from backbone.store.positions import PositionRepository
from backbone.store.readings import Readings
from backbone.store.secrets import SecretBox
from backbone.store.sources import SourceRepository
from backbone.store.tokens import TokenRepository
from service.access import Access
from service.credentials import AccessTokenCache, SourceCache
from service.edge import broken_http, edge
from service.facades.lookup import OrderLookup
from service.facades.mounting import mount
from service.facades.order_status import OrderStatusApi
from service.facades.order_status_login import TokenEndpoint
from service.facades.order_status_tokens import PURPOSE, IssuedTokens
from service.facades.storeharmony import StoreHarmonyApi
from service.facades.storeharmony_sessions import Sessions
from service.facades.vendor import VendorApi
from service.ingress.announcements import Announcements
from service.ingress.body import BODY_CAP, BodyBudget, expect_body
from service.ingress.door import Door
from service.ingress.flushing import Flusher
from service.ingress.partner_paths import mount_webhooks
from service.ingress.positions import PositionRecorder
from service.ingress.publishing import AppendOutcome, Publisher
from service.ingress.rate_limit import RateLimiter
from service.ingress.refusals import RefusalRecorder
from service.ingress.token_endpoint import PURPOSE as SOURCE_TOKENS
from service.ingress.token_endpoint import SourceTokens
from service.ingress.webhooks import Webhooks
from service.queries.changes import Changes
from service.queries.reads import Reads
from service.queries.watcher import ChangeWatcher
from service.readiness import ingress_checks
from service.remotes import remote_reader
from service.verdicts.desk import VerdictDesk
from service.verdicts.tail import OutcomesTail
from service.verdicts.waiters import Waiters


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the HTTP face is made of."""

    settings: Settings
    log: EventLog
    readings: Readings
    accounts: AccountRepository
    source_cache: SourceCache
    token_cache: AccessTokenCache
    refusals: RefusalRecorder
    positions: PositionRepository
    position_recorder: PositionRecorder
    appends: AppendOutcome
    token_keys: dict[str, bytes] = field(repr=False)
    """Sign the access tokens of the order-status API, by id, the first one first."""
    source_token_keys: dict[str, bytes] = field(repr=False)
    """The same for the tokens that partners fetch below their webhook URLs."""
    metrics: Metrics
    clock: Clock
    checks: tuple[Check, ...]


PARTS = web.AppKey("parts", Parts)
WATCHER = web.AppKey("watcher", ChangeWatcher)
WAITERS = web.AppKey("waiters", Waiters)
OUTCOMES_TAIL = web.AppKey("outcomes tail", OutcomesTail)


def make_parts(
    settings: Settings,
    log: EventLog,
    store: Store,
    box: SecretBox,
    *,
    metrics: Metrics,
    clock: Clock = SYSTEM_CLOCK,
    checks: Sequence[Check] = (),
) -> Parts:
    """Parts on an opened log and store. `checks` are more parts of readiness, such as a process's own consumers."""
    repository = SourceRepository(store, box, now_ms=clock.now_ms)
    source_cache = SourceCache(repository, clock.monotonic)
    token_cache = AccessTokenCache(TokenRepository(store, now_ms=clock.now_ms), clock.monotonic)
    appends = AppendOutcome(clock.monotonic)
    positions = PositionRepository(store)
    metrics.unresolved.set_function(lambda: float(log.unresolved))
    metrics.sources_loaded_age.set_function(lambda: clock.monotonic() - source_cache.loaded_at)
    return Parts(
        settings=settings,
        log=log,
        readings=Readings(store),
        accounts=AccountRepository(store, now_ms=clock.now_ms),
        source_cache=source_cache,
        token_cache=token_cache,
        refusals=RefusalRecorder(repository, clock.now_ms),
        positions=positions,
        position_recorder=PositionRecorder(positions, clock.now_ms, clock.monotonic),
        appends=appends,
        token_keys=box.derive(PURPOSE),
        source_token_keys=box.derive(SOURCE_TOKENS),
        metrics=metrics,
        clock=clock,
        checks=(*ingress_checks(settings, log, store, source_cache, token_cache, appends), *checks),
    )


def build_app(parts: Parts) -> web.Application:
    """The application of the public port. Raises SettingsInvalid for trusted proxies that are no addresses."""
    settings, clock = parts.settings, parts.clock
    read_remote = remote_reader(settings.trusted_proxies)
    app = web.Application(middlewares=[edge(parts.metrics, clock, read_remote)], client_max_size=BODY_CAP)
    limiter = RateLimiter(clock.monotonic)
    access = Access(parts.source_cache, parts.token_cache, limiter=limiter, refusals=parts.refusals)
    source_tokens = IssuedTokens(parts.source_token_keys, parts.source_cache, clock.now_ms)
    door = Door(
        parts.source_cache,
        limiter=limiter,
        refusals=parts.refusals,
        budget=BodyBudget(),
        clock=clock,
        metrics=parts.metrics,
        issued=source_tokens.source_of,
    )
    publisher = Publisher(
        parts.log,
        topic=settings.topics.received,
        partitions=settings.partitions,
        public_url=settings.public_url,
        metrics=parts.metrics,
        outcome=parts.appends,
        monotonic=clock.monotonic,
    )
    watcher = ChangeWatcher(parts.readings.heads, parts.metrics)
    waiters = Waiters(parts.metrics)
    desk = VerdictDesk(publisher, parts.readings, waiters, metrics=parts.metrics, monotonic=clock.monotonic)
    announcements = Announcements(door, access, publisher, desk)
    reads = Reads(parts.readings, parts.positions, access, partitions=settings.partitions)
    changes = Changes(parts.readings, access, watcher, clock.monotonic)
    route = app.router
    webhooks = Webhooks(door, publisher, desk, parts.position_recorder)
    mount_webhooks(app, webhooks, SourceTokens(door, parts.source_cache, source_tokens))
    route.add_post("/v1/orders", announcements.post, expect_handler=expect_body)
    route.add_patch("/v1/orders/{order_id}", announcements.patch, expect_handler=expect_body)
    route.add_get("/v1/orders", reads.orders, expect_handler=expect_body)
    route.add_get("/v1/orders/{order_id}", reads.order, expect_handler=expect_body)
    route.add_get("/v1/orders/{order_id}/history", reads.history, expect_handler=expect_body)
    route.add_get("/v1/receipts/{receipt_id}", reads.receipt, expect_handler=expect_body)
    route.add_get("/v1/changes", changes.get, expect_handler=expect_body)
    lookup = OrderLookup(parts.readings)
    sessions = Sessions(parts.accounts, clock.monotonic)
    tokens = IssuedTokens(parts.token_keys, parts.source_cache, clock.now_ms)
    order_status = OrderStatusApi(
        access=access,
        door=door,
        desk=desk,
        lookup=lookup,
        readings=parts.readings,
        tokens=tokens,
        wait_s=settings.verdict_wait_ms / 1000,
    )
    mount(app, order_status, settings.order_status_prefix)
    mount(app, TokenEndpoint(door, parts.source_cache, tokens), settings.order_status_prefix)
    mount(app, VendorApi(access, lookup), settings.vendor_prefix)
    mount(app, StoreHarmonyApi(parts.accounts, sessions, door, lookup, limiter), settings.storeharmony_prefix)
    add_health_routes(app, Health(parts.checks, monotonic=clock.monotonic))
    app[PARTS] = parts
    app[WATCHER] = watcher
    app[WAITERS] = waiters
    app[OUTCOMES_TAIL] = OutcomesTail(
        parts.log,
        topic=settings.topics.outcomes,
        partitions=settings.partitions,
        deliver=waiters.deliver,
        found=waiters.outcomes_found,
        lost=waiters.outcomes_lost,
    )
    app.cleanup_ctx.append(_running)
    app.on_shutdown.append(_wake_readers)
    return app


def build_admin_app(parts: Parts, checks: Sequence[Check] = ()) -> web.Application:
    """The application of the admin port: metrics and health, with the checks of `parts` and perhaps more."""
    health = Health((*parts.checks, *checks), monotonic=parts.clock.monotonic)
    read_remote = remote_reader(parts.settings.trusted_proxies)
    return build_admin(parts.metrics, health, middlewares=[edge(parts.metrics, parts.clock, read_remote)])


async def _running(app: web.Application) -> AsyncIterator[None]:
    """Caches, the writers of refusals and positions and the reader of outcomes live as long as the application."""
    parts = app[PARTS]
    positions = Flusher(parts.position_recorder.flush, failed="positions_not_written")
    refusals = Flusher(parts.refusals.flush, failed="refusals_not_written")
    app[OUTCOMES_TAIL].start()
    await parts.source_cache.start()
    await parts.token_cache.start()
    await refusals.start()
    await positions.start()
    yield
    await app[OUTCOMES_TAIL].stop()
    await positions.stop()
    await refusals.stop()
    await parts.token_cache.stop()
    await parts.source_cache.stop()


async def _wake_readers(app: web.Application) -> None:
    app[WAITERS].stop()
    await app[WATCHER].stop()


@dataclass(frozen=True, slots=True)
class Face:
    """The HTTP face while it is served; the addresses are the real ones where port 0 was asked for."""

    public: Listener
    admin: Listener | None

    async def stop(self) -> None:
        """Stops accepting, lets requests in hand end within the shutdown time-out, then the admin port."""
        await self.public.stop()
        if self.admin is not None:
            await self.admin.stop()


async def start_face(parts: Parts, *, reuse_port: bool = False, admin: bool = True) -> Face:
    """Serves both ports by the settings. With `reuse_port` several processes share the public port (all must ask for
    it); only one of them should serve the admin port. Raises AddressInUse naming the setting, ConfigurationError.
    """
    settings = parts.settings
    timeout_s = settings.shutdown_timeout_ms / 1000
    admin_listener: Listener | None = None
    if admin:
        admin_listener = await listen(
            build_admin_app(parts),
            host=settings.admin_host,
            port=settings.admin_port,
            setting="MEALTRAIL_ADMIN_",
            shutdown_timeout_s=timeout_s,
            refuse=broken_http(parts.metrics),
        )
    try:
        public = await listen(
            build_app(parts),
            host=settings.host,
            port=settings.port,
            setting="MEALTRAIL_",
            shutdown_timeout_s=timeout_s,
            refuse=broken_http(parts.metrics),
            reuse_port=reuse_port,
        )
    except BaseException:
        if admin_listener is not None:
            await admin_listener.stop()
        raise
    return Face(public, admin_listener)
