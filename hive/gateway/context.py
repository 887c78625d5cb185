"""What the gateway's handlers share: where each of them answers, and what all of them work with."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tornado.web import RequestHandler

from hive.client import Session
from hive.gateway.auth import Auth, Tickets
from hive.gateway.feed import Feed
from hive.gateway.incoming import Store
from hive.settings import Settings
from hive.staging import BlobStore

# What may stand for each parameter of a path.
PATH_PARAMETERS = {
    "id": "[0-9a-zA-Z]{1,64}",
    "name": "[a-z0-9_]{1,64}",
    "sha256": "[0-9a-f]{64}",
    "file": "[a-z_.]{1,64}",
}


@dataclass(frozen=True)
class Route:
    """One endpoint, declared next to its handler.

    Parameters
    ----------
    path : as OpenAPI writes it, such as `/task/{id}/why`; each parameter is one of `PATH_PARAMETERS`
    api : describes its methods for `/openapi.json`; pages for people have no description
    open_paths : those of its paths that need no token
    has_large_bodies : whether its handler limits the length of a body itself
    """

    path: str
    handler: type[RequestHandler]
    api: Callable[[], Mapping[str, Any]] = dict
    open_paths: tuple[str, ...] = ()
    has_large_bodies: bool = False

    @property
    def pattern(self) -> str:
        r"""The path as a regular expression.

        >>> Route("/page/x.css", RequestHandler).pattern
        '/page/x\\.css'
        >>> Route("/blob/{sha256}", RequestHandler).pattern
        '/blob/([0-9a-f]{64})'
        """
        literals_and_names = re.split(r"\{(\w+)\}", self.path)
        literals = map(re.escape, literals_and_names[::2])
        groups = [f"({PATH_PARAMETERS[name]})" for name in literals_and_names[1::2]]
        return "".join(part for pair in zip(literals, [*groups, ""], strict=True) for part in pair)


@dataclass(frozen=True)
class GatewayContext:
    """One gateway at work; `store` has the files that it serves, `previews` is where pictures of jobs are read."""

    settings: Settings
    session: Session
    auth: Auth
    tickets: Tickets
    feed: Feed
    store: Store
    previews: BlobStore
    routes: tuple[Route, ...]
