"""What a workspace does by itself, as a test sets it."""

from __future__ import annotations

import copy
from typing import Any, Optional

from fake.common import Json

NUMBER, FLAG, LIST = (int, float), (bool,), (list,)

# Name: the default, and the types that a value may have.
KNOWN: dict[str, tuple[Any, tuple[type, ...]]] = {
    # Seconds until a new cluster runs.
    "start_seconds": (0.3, NUMBER),
    # Seconds that a cluster is TERMINATING.
    "terminate_seconds": (0.1, NUMBER),
    # How the next starts end: {"code", "type", "parameters", "state_message", "times" (1)}.
    "start_failure": (None, (dict, type(None))),
    # Seconds by which the list is late with new clusters, and with states and removals.
    "list_lag_seconds": (0.0, NUMBER),
    "list_state_lag_seconds": (0.0, NUMBER),
    # Seconds for which all but the list do not know a new cluster.
    "get_lag_seconds": (0.0, NUMBER),
    # What an idempotency_token does: "honoured" or "ignored".
    "token_mode": ("honoured", (str,)),
    # The most clusters that may be active, or null.
    "quota": (None, (int, type(None))),
    # Versions and node types that the workspace does not have are refused.
    "strict_types": (False, FLAG),
    # What clusters without autotermination_minutes get.
    "default_autotermination_minutes": (0, NUMBER),
    # An empty page with a token before each page of a list.
    "empty_pages": (False, FLAG),
    # The most clusters of a page.
    "page_size": (100, NUMBER),
    # custom_tags come back as x_KEY.
    "azure_tags": (False, FLAG),
    # custom_tags do not come back.
    "hidden_tags": (False, FLAG),
    # How an unknown id is refused: "does_not_exist", "404" (or "not_found"), "bare_not_found" (no body),
    # "more_than_30_days".
    "gone_form": ("does_not_exist", (str,)),
    # The expires_in of OAuth tokens.
    "token_lifetime_seconds": (3600, NUMBER),
    # Requests whose path ends with one of these get 403.
    "forbidden_paths": ([], LIST),
    # Whether the user is entitled to create clusters; create is refused by 403 only with forbidden_paths.
    "may_create": (True, FLAG),
    # The audience that an exchanged token must have, or null for any.
    "oidc_audience": (None, (str, type(None))),
    # "user:password" that the proxy asks for, or null.
    "proxy_credentials": (None, (str, type(None))),
}
CHOICES = {
    "token_mode": ("honoured", "ignored"),
    "gone_form": ("does_not_exist", "404", "not_found", "bare_not_found", "more_than_30_days"),
}


def defaults() -> Json:
    return copy.deepcopy({name: value for name, (value, _) in KNOWN.items()})


def complaint(given: Json) -> Optional[str]:
    """What is wrong with settings that a test wants to make, if anything is."""
    for name, value in given.items():
        if name not in KNOWN:
            return f"there is no setting '{name}'; there are {', '.join(KNOWN)}"
        if name in CHOICES and value not in CHOICES[name]:
            return f"{name} is one of {', '.join(CHOICES[name])}"
        types = KNOWN[name][1]
        if not isinstance(value, types) or isinstance(value, bool) and bool not in types:
            return f"{name} cannot be {value!r}"
    return None
