"""What else has the names that Hive uses, in the current folder and in the same process, changes nothing.

Where Hive's tasks are really missing, a worker ends with one sentence: no tasks must not look like nothing to do.
"""

import os
import subprocess

import pytest

from hive.store import Registry
from tests.support import BIN, Hive
from tests.wire.test_doctor import worst
from tests.wire.test_presence import report

pytestmark = pytest.mark.wire


def write(folder, files):
    """Write files, by their paths below the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def littered(hive):
    """A Hive whose workers and commands start in a folder with the packages of another project."""
    foreign = "raise SystemExit('not Hive')\n"
    write(hive.home, {"workers/__init__.py": foreign, "workers/gis.py": foreign, "celeryconfig.py": foreign})
    with hive.up():
        yield hive


def test_packages_of_another_project_in_the_current_folder_hide_no_task(littered):
    with littered.worker("gis", slots=1):
        job = littered.json("submit", "test", "--queue", "gis", cwd=littered.home)
        [worker] = littered.json("workers", cwd=littered.home)
    assert (job["state"], job["worker"]) == ("succeeded", "w1@test")
    assert {"gis.dtm", "test.probe"} <= set(worker["terms"]["tasks"])


def test_a_client_of_one_hive_does_not_read_the_settings_of_another(hive_up, tmp_path):
    write(tmp_path, {"usual/config.toml": "not [toml"})
    script = f"""
        import hive
        from hive_workers.test.probe import probe

        print(hive.Client({str(hive_up.home)!r}, broker={hive_up.settings.broker_url!r}).submit(probe).id)
    """
    ended = Hive(tmp_path / "usual").python(script, tmp_path)
    assert ended.returncode == 0, ended.stderr


def refusal(hive, command, **environment):
    """What a worker writes that does not start."""
    ended = subprocess.run(
        [BIN / command[0], *command[1:]],
        env=hive.environment | environment, cwd=hive.home, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


CELERY = ("celery", "-A", "hive", "worker", "-c", "1", "-Q")


def test_a_worker_whose_tasks_are_hidden_ends_with_a_sentence(hive):
    write(hive.home, {"hive_workers/__init__.py": ""})
    words = f"hive: Hive's tasks are missing: the package 'hive_workers' in {hive.home}/hive_workers is empty."
    assert words in refusal(hive, [*CELERY, "gis"])


@pytest.mark.parametrize("command", [[*CELERY, "hollow"], ["hive", "worker", "--capabilities", "hollow=1"]])
def test_a_capability_without_tasks_is_not_served(hive_up, tmp_path, command):
    write(
        tmp_path,
        {
            "hollow/__init__.py": "from hive.task import Capability\nhollow = Capability('hollow', 'Has no tasks.')\n",
            "hollow-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: hollow\nVersion: 1\n",
            "hollow-1.dist-info/entry_points.txt": "[hive.capabilities]\nhollow = hollow:hollow\n",
        },
    )
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    words = f"hive: hollow has no tasks here: {tmp_path}/hollow declares none. Update Hive here"
    assert words in refusal(hive_up, command, PYTHONPATH=path)


def test_the_doctor_names_the_tasks_that_a_worker_lacks(hive_up):
    terms = {"lease_s": 15.0, "max_attempts": 3, "store": "folder", "allow_scripts": False, "versions": {}, "code": {}}
    own = terms | {"visibility_timeout_s": 15.0, "tasks": ["gis.profile", "test.probe"]}
    Registry(hive_up.redis).report(report(terms=own))
    state, message, todo = worst(hive_up, "workers", code=1)
    assert state == "problem"
    assert message.startswith("gis@studio has not registered gis.dtm")
    assert "test.probe" not in message
    assert todo == "Update Hive there and start the worker again."


def test_another_celery_application_of_the_process_keeps_kombus_transport(hive_up, tmp_path):
    ended = hive_up.python(
        """
        from celery import Celery, signals
        from hive.celery_adapter import make_application
        from hive.client import Session, make_request
        from hive.settings import load_settings
        from hive_workers.test.probe import probe
        import hive.celery
        settings = load_settings()
        Session(settings).submit(make_request(probe, {}))
        other = Celery("other", broker=settings.broker_url, set_as_current=False)
        for application in (other, make_application(settings)):
            connection = application.connection_for_write()
            print(type(connection.transport).__module__, connection.as_uri().partition(":")[0])
        other.conf.update(broker_transport_options=hive.celery.app.conf.broker_transport_options)
        worker = other.Worker(hostname="other@test", queues=["gis"])
        signals.celeryd_after_setup.send(sender="other@test", instance=worker)
        print(*other.amqp.queues.consume_from)
        """,
        tmp_path,
    )
    assert ended.stdout.split("\n") == [
        "kombu.transport.redis redis", "hive.celery_adapter.transport redis", "gis", "",
    ], ended.stderr  # fmt: skip


def test_the_options_of_another_flower_in_the_process_stay_as_they_are(hive_up, tmp_path):
    ended = hive_up.python(
        """
        from flower.options import default_options
        from hive.gateway.server import Gateway, make_context
        from hive.settings import load_settings
        gateway = Gateway(make_context(load_settings({"role": "gateway"})))
        print(default_options.read_only, default_options.url_prefix, default_options.max_tasks)
        print(gateway.options.read_only)
        """,
        tmp_path,
    )
    assert ended.stdout == "False None 100000\nTrue\n", ended.stderr


def test_a_connection_over_tls_checks_the_certificate_of_the_broker(hive):
    from hive.celery_adapter import make_application
    from hive.settings import load_settings

    settings = load_settings(environment=hive.environment | {"HIVE_BROKER_URL": "rediss://:secret@127.0.0.1:6390/0"})
    connection = make_application(settings).connection_for_write()
    assert connection.ssl["ssl_cert_reqs"] == "required"
    assert connection.transport.driver_type == "redis"
    assert connection.as_uri() == "rediss://:**@127.0.0.1:6390/0"
