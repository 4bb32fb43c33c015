"""The errors of the library. Every message names the thing it is about and the remedy. Unless an
error says otherwise, the call that raised it changed nothing."""

from __future__ import annotations

__all__ = [
    "Busy",
    "Cancelled",
    "CorruptDatabase",
    "CreationFailed",
    "DatabaseMoved",
    "Error",
    "InvalidArgument",
    "LeaseLost",
    "NewerSchema",
    "NotFound",
    "StorageFailure",
    "Timeout",
]


class Error(Exception):
    """What every error of the package derives from."""


class InvalidArgument(Error, ValueError):
    """An argument breaks a documented rule: an empty id, a malformed time, a negative count."""


class NotFound(Error, LookupError):
    """The call names an entry that does not exist, where one is needed."""


class Busy(Error):
    """The database stayed locked by others for the whole of the busy timeout; or what the call names
    is held by others: a live lease or creator, or a termination under way."""


class Timeout(Error, TimeoutError):
    """Waiting took longer than the caller allowed."""


class Cancelled(Error):
    """The caller asked for the call to end."""


class LeaseLost(Error):
    """The lease, or the creation, has ended: the cluster was found dead, or another took over."""


class CreationFailed(Error):
    """The worker that created the cluster failed; the message is its own."""


class CorruptDatabase(Error):
    """The database, or one of its rows, is not what dbcache wrote: damaged, or no database at all."""


class DatabaseMoved(Error):
    """The database takes no changes: its log was moved to another, or is being moved. The message
    says where it is, and what to do. Reading still works."""


class NewerSchema(Error):
    """The database was written by a newer dbcache than this one."""


class StorageFailure(Error):
    """Reading or writing failed: disk full, I/O error, no permission.

    ``outcome`` is what is known of the change that the call was to make: ``"not_committed"``, or
    ``"unknown"`` (look before trying again).
    """

    def __init__(self, message: str = "", outcome: str = "not_committed") -> None:
        super().__init__(message)
        self.outcome = outcome

    def __reduce__(self):
        return type(self), (*self.args, self.outcome)
