"""What a command stands on: the settings, the store, the key ring. Opened for one command, closed after it.

On the embedded default a command works on the files directly, also while a server runs on them: both databases take
several processes. A command that makes something (a source, a token) also makes what is missing; one that only looks
or changes says so when there is nothing, instead of looking into an empty directory of its own making.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from backbone.clocks import SYSTEM_CLOCK
from backbone.logs import configure_logs
from backbone.settings import Settings, load_settings
from backbone.store.engine import Store, open_store
from backbone.store.migration import check_schema, keep_setting, migrate
from backbone.store.secrets import SecretBox
from backbone.store.sources import SourceRepository
from backbone.store.tokens import TokenRepository
from schemas.errors import ConfigurationError, PartitionSetInvalid, SchemaOutdated
from service.cli.data_directory import prepare_data_dir, require_data_dir

PARTITIONS = "partitions"
"""The kept setting that remembers how many partitions the log was made with."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The store and whose settings it was opened by."""

    settings: Settings
    store: Store

    def sources(self) -> SourceRepository:
        """The sources, with the key ring they need. Raises SettingsInvalid for a wrong ring."""
        return SourceRepository(self.store, secret_box(self.settings), now_ms=SYSTEM_CLOCK.now_ms)

    def tokens(self) -> TokenRepository:
        """The access tokens."""
        return TokenRepository(self.store, now_ms=SYSTEM_CLOCK.now_ms)


def command_settings() -> Settings:
    """The settings of a one-shot command, its logs (warnings and worse) on standard error. Raises SettingsInvalid."""
    settings = load_settings()
    quiet = settings.log_level if settings.log_level in ("DEBUG", "ERROR") else "WARNING"
    configure_logs(settings.model_copy(update={"log_level": quiet}))
    return settings


@asynccontextmanager
async def open_parts(settings: Settings, *, make: bool = False) -> AsyncIterator[Parts]:
    """The parts for one command; `make` lets it set up an embedded store that is not there yet.

    Raises ConfigurationError (SchemaOutdated among them) and StoreUnavailable.
    """
    if settings.embedded:
        if make:
            prepare_data_dir(settings.data_dir)
        else:
            require_data_dir(settings.data_dir)
    store = open_store(settings, purpose="service")
    try:
        try:
            await check_schema(store)
        except SchemaOutdated:
            if not (make and settings.embedded):
                raise
            await migrate(settings)
        yield Parts(settings, store)
    finally:
        await store.close()


async def known_partitions(store: Store, settings: Settings) -> int:
    """How many partitions the log has, remembered at its making.

    Raises PartitionSetInvalid when the settings differ: an order's records would go to another partition than before.
    """
    kept = await keep_setting(store, PARTITIONS, str(settings.partitions))
    if int(kept) != settings.partitions:
        raise PartitionSetInvalid(
            f"the log was made with {kept} partitions, MEALTRAIL_PARTITIONS is {settings.partitions}: set it to {kept}"
        )
    return int(kept)


def secret_box(settings: Settings) -> SecretBox:
    """The ring of keys that secrets are encrypted with. Raises SettingsInvalid, ConfigurationError."""
    if settings.secret_keys is not None:
        return SecretBox.parse(settings.secret_keys.get_secret_value())
    if not settings.embedded:
        raise ConfigurationError("MEALTRAIL_SECRET_KEYS is not set")
    try:
        return SecretBox.in_directory(settings.data_dir)
    except OSError as error:
        raise ConfigurationError(f"cannot read or make the keys in {settings.data_dir}: {error.strerror}") from error


def login_user() -> str:
    """Who runs this command, by the system's account database: for the audit trail of administration."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return f"uid-{os.getuid()}"
