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
    "LifecycleError",
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


class LifecycleError(Error):
    """A function of a lifecycle raises it to say whether another try may help. If a ``create``
    raises one with ``may_succeed_again=False``, all that wait for this creation raise
    ``CreationFailed`` with its message, whatever ``on_create_failure`` says."""

    def __init__(self, message: str = "", may_succeed_again: bool = True) -> None:
        super().__init__(message)
        self.may_succeed_again = may_succeed_again

    def __reduce__(self):
        return type(self), (*self.args, self.may_succeed_again)


class WorkspaceError(LifecycleError):
    """The base class of the errors of a Databricks workspace (``dbcache.databricks``).

    ``http_status``, ``error_code`` and ``workspace_message`` are what the workspace answered: 0 and
    empty if there was no answer."""

    def __init__(
        self,
        message: str = "",
        may_succeed_again: bool = False,
        http_status: int = 0,
        error_code: str = "",
        workspace_message: str = "",
    ) -> None:
        super().__init__(message, may_succeed_again)
        self.http_status = http_status
        self.error_code = error_code
        self.workspace_message = workspace_message

    def __reduce__(self):
        answer = (self.http_status, self.error_code, self.workspace_message)
        return type(self), (*self.args, self.may_succeed_again, *answer)


class NotAuthenticated(WorkspaceError):
    """There are no credentials for the workspace, or it does not accept them."""


class PermissionDenied(WorkspaceError):
    """The user of the credentials may not do this."""


class InvalidClusterConfig(WorkspaceError):
    """The workspace cannot create a cluster of this configuration."""


class QuotaExceeded(WorkspaceError):
    """A quota of the workspace, or of its account with the cloud, is used up."""


class CapacityUnavailable(WorkspaceError):
    """The cloud has no machines of this kind just now. Another try may help."""


class ClusterFailed(WorkspaceError):
    """The cluster did not start, or ended while it started. Another try may help."""


class WorkspaceUnavailable(WorkspaceError):
    """The workspace cannot be reached, or its answer makes no sense."""


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
