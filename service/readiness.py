"""What the HTTP face needs to be ready, part by part.

Webhooks need the log, the topics as configured and as the store remembers them, and sources that were loaded once; a
store that is away afterwards only degrades the process: webhooks are still taken (their credentials are in memory),
reads are answered 503. So /readyz stays 200 then and says so, and a load balancer keeps sending webhooks here.
"""

from __future__ import annotations

from backbone.eventlog.opening import wanted_topics
from backbone.eventlog.port import EventLog
from backbone.health import Check
from backbone.settings import Settings
from backbone.store.engine import Store
from backbone.store.kept_settings import check_partitions
from backbone.store.migration import check_schema
from consumers.log_identity import LogIdentity
from schemas.errors import StoreUnavailable
from service.credentials import AccessTokenCache, SourceCache
from service.ingress.publishing import AppendOutcome

_SLOW_CHECK_S = 15.0


def ingress_checks(
    settings: Settings,
    log: EventLog,
    store: Store,
    sources: SourceCache,
    tokens: AccessTokenCache,
    appends: AppendOutcome,
) -> tuple[Check, ...]:
    """The checks of the HTTP face."""
    identity = LogIdentity(log, store, settings.topics)

    async def probe_log() -> None:
        appends.check()
        await log.bounds(settings.topics.received, [0])

    async def probe_topics() -> str | None:
        await log.check_topics(await wanted_topics(settings))
        try:
            await check_partitions(store, settings)
            await identity.check_process(settings.partitions)
        except StoreUnavailable:
            return "ok as far as the log knows"
        return None

    async def probe_schema() -> str | None:
        try:
            await check_schema(store)
        except StoreUnavailable:
            return "unknown: the store does not answer"
        return None

    return (
        Check(part="log", probe=probe_log),
        Check(part="topics", probe=probe_topics, keep_s=_SLOW_CHECK_S),
        Check(part="sources", probe=sources.probe),
        Check(part="tokens", probe=tokens.probe, required=False),
        Check(part="store", probe=store.ping, required=False),
        Check(part="schema", probe=probe_schema),
    )
