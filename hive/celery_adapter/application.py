"""The Celery application: Hive's own configuration, and Hive's own transport for this application alone."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import kombu
from celery import Celery
from celery.app.amqp import AMQP

from hive.celery_adapter.transport import Transport
from hive.errors import SettingError
from hive.settings import Settings
from hive.store.connection import encryption, held_keys


class Connection(kombu.Connection):
    """A connection to the broker that uses Hive's transport.

    `broker_transport` would name it too, but then the class stands for `redis` in every address that Celery and Flower
    show. kombu's table of transports belongs to the whole process, in which others may use Celery.
    """

    def get_transport_cls(self) -> type[Any]:
        """Hive's transport, for `redis://` and `rediss://`."""
        return Transport


class _Amqp(AMQP):
    """Celery's messaging with Hive's connections."""

    Connection = Connection


class Application(Celery):
    """Hive's Celery application; it is never the current one of its process."""

    amqp_cls = _Amqp  # type: ignore[assignment]  # a class does as well as its name


A = TypeVar("A", bound=Application)


def make_application(settings: Settings) -> Application:
    """Build an application that sends jobs and has no tasks.

    Raises
    ------
    SettingError
        Hive's celeryconfig.py is missing.
    """
    return configured(Application("hive", set_as_current=False), settings)


def configured(application: A, settings: Settings) -> A:
    """Configure an application by celeryconfig.py and the settings of this process.

    Raises
    ------
    SettingError
        Hive's celeryconfig.py is missing.
    """
    application.config_from_object(_configuration(), force=True)
    options = application.conf.broker_transport_options | held_keys(settings)
    application.conf.update(
        broker_url=settings.broker_url,
        # A delivery that its worker has not renewed for one lease goes to another worker. Only with Hive's renewal:
        # without it every job longer than the lease would run twice.
        broker_transport_options=options | {"visibility_timeout": settings.lease_s},
        broker_use_ssl=encryption(settings) or False,
    )
    return application


def _configuration() -> ModuleType:
    """Hive's celeryconfig.py, by its place beside the package `hive`: the current folder may have one of its own."""
    path = Path(__file__).parents[2] / "celeryconfig.py"
    spec = spec_from_file_location("hive_celeryconfig", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise SettingError(f"{path} is missing: Hive is not installed completely. Install it again.")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
