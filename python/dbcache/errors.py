"""The errors that the package raises.

Every message names the thing that is wrong and the remedy. Unless an error says otherwise, the call
that raised it changed nothing.

Any call that uses the database may raise ``Busy``, ``CorruptDatabase``, ``NewerSchema`` and
``StorageFailure``. A call that changes the database may also raise ``DatabaseMoved``. The calls'
own descriptions name only what they raise beside these.
"""

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
    """The base class of every error of the package."""


class InvalidArgument(Error, ValueError):
    """An argument breaks a documented rule: an empty id, a malformed time, a negative count."""


class NotFound(Error, LookupError):
    """The call needs an entry, and no entry has the name that it gives."""


class Busy(Error):
    """The database stayed locked by other processes for the whole busy timeout; or others hold what
    the call names: a live lease or creator, or a termination under way."""


class Timeout(Error, TimeoutError):
    """The wait took longer than the caller allowed."""


class Cancelled(Error):
    """The caller cancelled the call."""


class LeaseLost(Error):
    """The lease or the creation has ended: the cluster was found dead, or another process took
    over."""


class CreationFailed(Error):
    """Another worker failed to create the cluster; the message is that worker's."""


class CorruptDatabase(Error):
    """The database, or one of its rows, is not what dbcache wrote: it is damaged, or the file is
    not a database at all."""


class DatabaseMoved(Error):
    """The database takes no changes: its log was moved to another database, or is being moved. The
    message says where the log is and what to do. Reading still works."""


class NewerSchema(Error):
    """A newer dbcache than this one wrote the database. Upgrade dbcache."""


class StorageFailure(Error):
    """Reading or writing failed: disk full, I/O error, no permission.

    ``outcome`` says whether the change was made: ``"not_committed"`` (it was not), or ``"unknown"``
    (look before you try again).
    """

    def __init__(self, message: str = "", outcome: str = "not_committed") -> None:
        super().__init__(message)
        self.outcome = outcome

    def __reduce__(self):
        return type(self), (*self.args, self.outcome)
