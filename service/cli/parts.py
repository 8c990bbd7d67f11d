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
from typing import Literal

from backbone.clocks import SYSTEM_CLOCK
from backbone.logs import configure_logs
from backbone.settings import Settings, load_settings
from backbone.store.accounts import AccountRepository
from backbone.store.engine import Store
from backbone.store.migration import check_schema, migrate
from backbone.store.opening import open_store
from backbone.store.secrets import KEY_FILE, SecretBox
from backbone.store.sources import SourceRepository, has_sources
from backbone.store.tokens import TokenRepository
from schemas.errors import ConfigurationError, SchemaOutdated
from service.cli.data_directory import prepare_data_dir, require_data_dir


@dataclass(frozen=True, slots=True)
class Parts:
    """The store and whose settings it was opened by."""

    settings: Settings
    store: Store
    keys_lost: bool = False

    def sources(self) -> SourceRepository:
        """The sources, with the key ring they need. Raises SettingsInvalid for a wrong ring, ConfigurationError for a
        lost one.
        """
        if self.keys_lost:
            raise lost_keys(self.settings)
        return SourceRepository(self.store, secret_box(self.settings), now_ms=SYSTEM_CLOCK.now_ms)

    def tokens(self) -> TokenRepository:
        """The access tokens."""
        return TokenRepository(self.store, now_ms=SYSTEM_CLOCK.now_ms)

    def accounts(self) -> AccountRepository:
        """The accounts of the StoreHarmony API."""
        return AccountRepository(self.store, now_ms=SYSTEM_CLOCK.now_ms)


def command_settings(least: Literal["WARNING", "ERROR"] = "ERROR") -> Settings:
    """The settings of a one-shot command. Raises SettingsInvalid.

    Its error is one line, so what parts and libraries log about the same outage is left out: only our own lines from
    `least` on are written. With MEALTRAIL_LOG_LEVEL=DEBUG everything is.
    """
    settings = load_settings()
    if settings.log_level == "DEBUG":
        configure_logs(settings)
    else:
        configure_logs(settings.model_copy(update={"log_level": least}), only_ours=True)
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
        yield Parts(settings, store, keys_lost=await are_keys_lost(settings, store))
    finally:
        await store.close()


async def are_keys_lost(settings: Settings, store: Store) -> bool:
    """Whether an embedded store has sources and its key file is gone: a new ring would open none of their secrets.

    Sources come first and the file after: whoever makes the first source makes the file before it. Raises
    StoreUnavailable.
    """
    if not settings.embedded or settings.secret_keys is not None:
        return False
    return await has_sources(store) and not (settings.data_dir / KEY_FILE).exists()


def lost_keys(settings: Settings) -> ConfigurationError:
    """The error that says what to do about it."""
    return ConfigurationError(
        f"{settings.data_dir / KEY_FILE} is missing, and the store has sources whose secrets are encrypted with its "
        "keys. Put the file back from a backup, or set MEALTRAIL_SECRET_KEYS to what it held. If it is lost for good, "
        "put a new ring there (id:base64 of 32 random bytes, under an id that was not used before), disable the old "
        "sources and make new ones"
    )


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
