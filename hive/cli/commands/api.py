"""`hive api`: one call of the gateway's HTTP API, with the token added."""

import sys
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hive.cli.common import Section, current_settings, print_json
from hive.cli.completion import Word
from hive.errors import BadFileError, BadParameterError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_METHODS = ("GET", "POST", "PUT", "HEAD", "DELETE")
_PATHS = ("/workers", "/queue", "/status", "/task", "/events", "/metrics", "/healthcheck", "/openapi.json")
_CHUNK = 1 << 16
_NOT_FOUND, _REFUSED, _USAGE, _BUDGET = 3, 4, 2, 5
_EXIT_CODES = {
    HTTPStatus.UNAUTHORIZED: _REFUSED,
    HTTPStatus.FORBIDDEN: _REFUSED,
    HTTPStatus.TOO_MANY_REQUESTS: _REFUSED,
    HTTPStatus.BAD_GATEWAY: _REFUSED,
    HTTPStatus.SERVICE_UNAVAILABLE: _REFUSED,
    HTTPStatus.NOT_FOUND: _NOT_FOUND,
    HTTPStatus.PAYMENT_REQUIRED: _BUDGET,
    HTTPStatus.CONFLICT: 1,
}


@click.command()
@click.argument("method", type=Word(_METHODS))
@click.argument("path", type=Word(_PATHS))
@click.option(
    "-f",
    "--field",
    "fields",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field of the JSON body, or of the query of a GET; params.cell=1 is a field of params.",
)
@click.option("--input", "body", type=click.Path(), metavar="FILE", help="Send this file as the body; - is stdin.")
@click.option("-i", "--include", "with_headers", is_flag=True, help="Print the status and the headers too.")
def api(method: str, path: str, fields: tuple[str, ...], body: str | None, with_headers: bool) -> int:
    """Call the HTTP API of the gateway, and print what it answers.

    Exit code 0 if the call succeeded, 2 if it was refused, 3 for what is not there, 4 if the gateway cannot be reached.

    \b
      hive api GET /workers
      hive api GET /task -f state=failed
      hive api POST /task -f type=training -f params.model=gis-lidar -f params.epochs=100
    """  # noqa: D301  click wants the character \b itself
    from hive.client.gateway import call

    method = method.upper()
    if method not in _METHODS:
        raise BadParameterError(f"METHOD must be one of {', '.join(_METHODS)}, not {method!r}.")
    if not path.startswith("/"):
        raise BadParameterError(f"PATH must begin with /, such as /workers, not {path!r}.")
    if fields and body is not None:
        raise BadParameterError("Pass either --field or --input, not both.")
    if fields and method in ("GET", "HEAD"):
        path, content = _with_query(path, fields), None
    else:
        content = _body(fields, body)
    with call(current_settings(), method, path, content, is_json=method != "PUT") as answer:
        if with_headers:
            click.echo(f"HTTP {answer.status} {answer.reason or HTTPStatus(answer.status).phrase}")
            click.echo("".join(f"{name}: {value}\n" for name, value in answer.headers.items()))
        return _show(answer)


def _with_query(path: str, fields: tuple[str, ...]) -> str:
    from urllib.parse import urlencode

    return f"{path}{'&' if '?' in path else '?'}{urlencode([_split(field) for field in fields])}"


def _split(field: str) -> tuple[str, str]:
    name, sign, value = field.partition("=")
    if not name or not sign:
        raise BadParameterError(f"--field must be NAME=VALUE, not {field!r}.")
    return name, value


def _body(fields: tuple[str, ...], file: str | None) -> bytes | None:
    import json

    if file is not None:
        try:
            return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        except OSError as error:
            raise BadFileError(f"{file} cannot be read: {error.strerror}.") from error
    if not fields:
        return None
    document: dict[str, Any] = {}
    for name, value in map(_split, fields):
        *outer, last = name.split(".")
        place = document
        for key in outer:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise BadParameterError(f"The field {key!r} has a value already, and cannot have fields of its own.")
        place[last] = _value(value)
    return json.dumps(document).encode()


def _value(text: str) -> object:
    """A number, true, false, null, list or object of JSON; anything else is text."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _show(answer: "BaseHTTPResponse") -> int:
    """Print a body: JSON indented, anything else as it comes. Returns the exit code."""
    import json

    is_json = answer.headers.get("Content-Type", "").startswith("application/json")
    if is_json:
        document = json.loads(answer.data or b"null")
        if document is not None:
            print_json(document)
    else:
        for chunk in answer.stream(_CHUNK):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
    if answer.status < HTTPStatus.BAD_REQUEST:
        return 0
    error = document.get("error") if is_json and isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else f"The gateway answers {answer.status}."
    click.echo(f"hive: {message}", err=True)
    return _EXIT_CODES.get(HTTPStatus(answer.status), _USAGE if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR else 1)


COMMANDS = {Section.MAC: (api,)}
