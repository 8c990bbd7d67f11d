"""Every error mealtrail raises on purpose, in one tree, each with a stable code.

MealtrailError
├── ConfigurationError          settings or set-up that cannot work; the process says so and ends
│   ├── SettingsInvalid         one or more settings are wrong (all are listed)
│   ├── AddressInUse            a port is taken
│   ├── DataDirectoryLocked     another server owns the data directory
│   ├── SchemaOutdated          the store's schema is not the one this release needs
│   ├── TopicMisconfigured      a topic is missing or differs from what is configured
│   ├── SecretSealed            a secret does not open with the keys of MEALTRAIL_SECRET_KEYS
│   ├── PartitionSetInvalid     the log's number of partitions is not the remembered one
│   ├── LogMismatch             the log is not the one that the store was filled from
│   ├── HistoryLost             the store is empty, and outcomes of its log were published
│   ├── StoreRebuilding         a rebuild of the store was begun and has not ended
│   └── RebuildRefused          the store cannot be rebuilt from these topics, or not into that store
├── RequestRefused              what a caller sent cannot be taken (carries the HTTP status)
│   ├── MalformedEvent          400, with the fields that are wrong
│   ├── NotAuthenticated        401, the public text never says why
│   ├── NotAllowed              403, a valid credential without the scope
│   ├── NotFound                404
│   ├── BodyTooLarge            413
│   ├── UnsupportedContentType  415
│   └── RateLimited             429, with the seconds to wait
├── Unavailable                 a part we stand on does not answer; may be tried again
│   ├── LogUnavailable          the event log; a publish that ends so has an unknown outcome (its own kinds stay in
│   │   │                       backbone.eventlog)
│   │   └── LogUnusable         the embedded log's file is damaged, may not be written, or was exchanged
│   └── StoreUnavailable        the store
│       └── StoreRefused        it answers, and does not let us in: wrong password, no such database
├── RecordTooLarge              a record the event log can never store; a caller let it through
├── PartitionLost               this worker no longer owns the partition (fence or group); stop quietly
├── PartitionStopped            the partition must not go on until a person has looked
│   ├── LogGap                  offsets are not contiguous, or lie outside the log
│   ├── LogReplaced             the record before `next` is not the remembered one
│   ├── RecordUnknown           a record kind or a stamp that this release does not know
│   ├── RecordUnappliable       a record whose decision fails
│   └── TooManyDeadLetters      so many events failed in a row that the release is at fault, not they
├── AnchorRefused               an anchor of the trail says nothing about this store
│   ├── AnchorUnreadable        it is no anchor, or of a format this release does not know
│   ├── AnchorForged            its signature does not fit its content and the key that it names
│   ├── AnchorKeyUnknown        the key that it names is not there to check it with
│   ├── AnchorOfAnother         it was made in another deployment
│   └── AnchorOfFuture          it claims to be made later than now
├── TrailBroken                 the trail's ends are not what was written; nothing is signed
├── DefinitionInvalid           a source or token as described cannot be made (all problems are listed)
└── ConflictingName             a source or token of this name exists already
"""

from __future__ import annotations

from typing import ClassVar

from schemas.refusals import Why


class MealtrailError(Exception):
    """Base of all deliberate errors. `code` is stable and may be matched by machines."""

    code: ClassVar[str] = "internal_error"


class ConfigurationError(MealtrailError):
    """Settings or set-up that cannot work. Retrying does not help; a person must change something."""

    code = "configuration_error"


class SettingsInvalid(ConfigurationError):
    """One or more settings are wrong; the message lists all of them."""

    code = "settings_invalid"


class AddressInUse(ConfigurationError):
    """A port is taken; the message names the setting that chooses it."""

    code = "address_in_use"


class DataDirectoryLocked(ConfigurationError):
    """Another server owns the data directory."""

    code = "data_directory_locked"


class SchemaOutdated(ConfigurationError):
    """The store's schema is older than this release needs; `mealtrail migrate` brings it up."""

    code = "schema_outdated"


class TopicMisconfigured(ConfigurationError):
    """A topic is missing or its settings differ from the configured ones."""

    code = "topic_misconfigured"


class SecretSealed(ConfigurationError):
    """A secret in the store does not open with the ring's keys. `problem` says it in few words, with the key's id."""

    code = "secret_sealed"

    def __init__(self, message: str, *, problem: str) -> None:
        super().__init__(message)
        self.problem = problem


class RequestRefused(MealtrailError):
    """What a caller sent cannot be taken. `status` is the HTTP status, `detail` may be shown to the caller."""

    code = "request_refused"
    status: ClassVar[int] = 400

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class MalformedEvent(RequestRefused):
    """The body is not what the format asks for. `errors` pairs each field with what is wrong with it."""

    code = "malformed"

    def __init__(self, detail: str, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class NotAuthenticated(RequestRefused):
    """Unknown source, bad or missing signature, old timestamp. `reason` is for the operator only."""

    code = "unauthenticated"
    status = 401

    def __init__(self, reason: Why) -> None:
        super().__init__("Authentication failed.")
        self.reason = reason


class NotAllowed(RequestRefused):
    """The credential is valid but does not cover this call."""

    code = "forbidden"
    status = 403


class NotFound(RequestRefused):
    """There is no such thing, or the caller may not see it: the two are never told apart."""

    code = "not_found"
    status = 404


class BodyTooLarge(RequestRefused):
    """The request body is over the cap."""

    code = "body_too_large"
    status = 413


class UnsupportedContentType(RequestRefused):
    """The content type is none that the route takes."""

    code = "unsupported_media_type"
    status = 415


class RateLimited(RequestRefused):
    """The source sends faster than its limit. `retry_after` is in whole seconds, at least 1."""

    code = "rate_limited"
    status = 429

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many requests.")
        self.retry_after = retry_after


class Unavailable(MealtrailError):
    """A part we stand on does not answer in time. May be tried again."""

    code = "unavailable"


class LogUnavailable(Unavailable):
    """The event log does not answer. Raised by a publish it means *unknown*: the records may yet be stored."""

    code = "log_unavailable"


class LogUnusable(LogUnavailable):
    """The embedded log's file is damaged, may not be written, or is not the one that was opened.

    A process that starts gives up on it; one that runs answers 503, and goes on if the file is put right.
    """

    code = "log_unusable"


class StoreUnavailable(Unavailable):
    """The store does not answer."""

    code = "store_unavailable"


class StoreRefused(StoreUnavailable):
    """The store answers and does not let us in: wrong credentials, no such role or database.

    A process that starts gives up on it; one that runs waits it out, since somebody may be changing a password.
    """

    code = "store_refused"


class RecordTooLarge(MealtrailError):
    """A record is over the event log's size limit. Trying again does not help; a limit at the door is missing."""

    code = "record_too_large"


class PartitionLost(MealtrailError):
    """This worker no longer owns the partition: the fence did not match, or the group took it away."""

    code = "partition_lost"


class PartitionStopped(MealtrailError):
    """The partition must not go on until a person has looked. The message says what to do.

    `partition` and `offset` say where, as far as it is known.
    """

    code = "partition_stopped"

    def __init__(self, message: str, *, partition: int | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.partition = partition
        self.offset = offset


class LogGap(PartitionStopped):
    """Offsets are not contiguous, or the wanted offset lies outside the log."""

    code = "log_gap"


class LogReplaced(PartitionStopped):
    """The record before `next` is not the one that was applied: the topic was recreated or refilled."""

    code = "log_replaced"


class RecordUnknown(PartitionStopped):
    """A record kind, a policy or a format version that this release does not know."""

    code = "record_unknown"


class RecordUnappliable(PartitionStopped):
    """A record whose decision or rows fail. Carries partition and offset in its message.

    `event_offset` is where the event to blame was logged, None where that is not known; the event may be a hold that
    the record at `offset` released. `problem` names the failure in a word or two, without any value. `suspects` are
    the events whose rows the store may have refused, the last one decided first.
    """

    code = "record_unappliable"

    def __init__(
        self,
        message: str,
        *,
        partition: int | None = None,
        offset: int | None = None,
        event_offset: int | None = None,
        problem: str = "",
        suspects: tuple[int, ...] = (),
    ) -> None:
        super().__init__(message, partition=partition, offset=offset)
        self.event_offset = event_offset
        self.problem = problem or self.code
        self.suspects = suspects


class TooManyDeadLetters(PartitionStopped):
    """Setting one more event aside would pass the limit: the release is at fault, not the events."""

    code = "too_many_dead_letters"


class TransactionTooHeavy(MealtrailError):
    """The store answers, but does not finish this transaction within its time limits. A smaller batch may help."""

    code = "transaction_too_heavy"


class NotReady(MealtrailError):
    """A part of a process is not well. Unlike that of other errors, its message is shown to whoever asks."""

    code = "not_ready"


class PartitionSetInvalid(ConfigurationError):
    """The log's number of partitions is not the one the store remembers."""

    code = "partition_set_invalid"


class LogMismatch(ConfigurationError):
    """The received topic is not the one that the store was filled from: made anew, or another deployment's."""

    code = "log_mismatch"


class HistoryLost(ConfigurationError):
    """The store has applied nothing of a partition whose outcomes were published: its database was lost."""

    code = "history_lost"


class StoreRebuilding(ConfigurationError):
    """A rebuild of the store was begun and has not ended; nobody else may work on it."""

    code = "store_rebuilding"


class RebuildRefused(ConfigurationError):
    """The topics cannot give the same store again, or the store that was named is not empty."""

    code = "rebuild_refused"


class AnchorRefused(MealtrailError):
    """An anchor of the trail says nothing about this store. What it says about the trail is not known."""

    code = "anchor_refused"


class AnchorUnreadable(AnchorRefused):
    """The file is no anchor, or one of a format that this release does not know."""

    code = "anchor_unreadable"


class AnchorForged(AnchorRefused):
    """The signature does not fit the content: it was changed, or signed with another key of that id."""

    code = "anchor_forged"


class AnchorKeyUnknown(AnchorRefused):
    """The key that the anchor names is not there to check it with."""

    code = "anchor_key_unknown"


class AnchorOfAnother(AnchorRefused):
    """The anchor was made in another deployment."""

    code = "anchor_of_another_deployment"


class AnchorOfFuture(AnchorRefused):
    """The anchor claims to be made later than now: a clock is wrong, its maker's or ours."""

    code = "anchor_of_the_future"


class TrailBroken(MealtrailError):
    """The ends of the chains are not what was written, so that no anchor may be made of them."""

    code = "trail_broken"


class DefinitionInvalid(MealtrailError):
    """A source or a token as described cannot be made; the message lists all problems and holds no secret."""

    code = "definition_invalid"


class ConflictingName(MealtrailError):
    """A source or a token of this name exists already."""

    code = "conflicting_name"
