"""What Hive needs of Celery's worker and of billiard beyond their documentation (hive.celery_adapter.worker)."""

import inspect
import subprocess
import sys
from typing import ClassVar

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery import Celery, signals
from celery.app.amqp import AMQP
from celery.apps import worker as program
from celery.bin.worker import worker as worker_command
from celery.worker import WorkController, components, state, strategy
from celery.worker.consumer import Consumer, Gossip, Heart, Mingle
from celery.worker.consumer import events as consumer_events
from celery.worker.request import Request

from hive.celery_adapter import make_application
from hive.celery_adapter.application import Connection
from hive.celery_adapter.worker import (
    AttemptTask,
    BatchingConsumer,
    QuietWorker,
    RunningWorker,
    make_worker_application,
)
from hive.settings import load_settings

# The tests may run as root; these workers never start.
pytestmark = pytest.mark.filterwarnings("ignore::celery.exceptions.SecurityWarning")


class Recorder:
    """A service that notes when it starts."""

    started: ClassVar = []

    def __init__(self, worker):
        self.worker = worker

    def start(self):
        self.started.append(self.worker.name)

    def stop(self):
        pass


@pytest.fixture
def settings(tmp_path):
    return load_settings(environment={"HIVE_HOME": str(tmp_path), "HIVE_BROKER_URL": "redis://127.0.0.1:9/0"})


@pytest.fixture
def application(settings):
    calls = []
    application = make_worker_application(
        settings,
        {"gis.dtm": print},
        [Recorder],
        prepare=lambda queues: calls.append(queues),
        note_loss=lambda *words: calls.append(words),
    )
    application.calls = calls
    return application


@pytest.fixture
def controller(application):
    controller = application.Worker(hostname="gis@test", queues=["gis"], concurrency=2, pool="solo")
    assert isinstance(controller, QuietWorker)
    return controller


def test_the_queue_of_a_test_would_be_missing_if_queues_could_not_be_added(controller, application):
    application.amqp.queues.select_add("test")
    assert set(RunningWorker(controller).queues) == {"gis", "test"}


def test_celerys_own_tasks_would_run_jobs_of_others_if_they_could_not_be_unregistered(application):
    assert list(application.tasks) == ["gis.dtm"]


def test_jobs_would_go_to_kombus_transport_if_celery_no_longer_asked_its_amqp_class(settings):
    application = make_application(settings)
    assert AMQP.Connection is not Connection
    assert type(application.connection_for_write()) is Connection
    assert type(application.connection_for_read()) is Connection
    assert type(Celery(set_as_current=False).connection_for_write()) is not Connection


def test_workers_would_gossip_if_celery_no_longer_took_the_worker_class_of_the_application(application):
    assert issubclass(application.Worker, QuietWorker)
    assert "app.Worker(" in inspect.getsource(inspect.unwrap(worker_command.callback))


def test_idle_workers_would_cost_the_mac_more_if_these_options_were_ignored(controller):
    consumer = inspect.getsource(inspect.getmodule(WorkController)) + inspect.getsource(components)
    assert "consumer_cls" in consumer
    assert controller.consumer_cls is BatchingConsumer
    for step, option in ((Gossip, "without_gossip"), (Mingle, "without_mingle"), (Heart, "heartbeat_interval")):
        assert option in inspect.signature(step.__init__).parameters
    assert {
        "without_gossip": True,
        "without_mingle": True,
        "heartbeat_interval": 60,
    }.items() <= controller.options.items()


def test_each_event_would_be_sent_alone_if_celery_no_longer_called_on_send_event_buffered():
    assert "c.on_send_event_buffered" in inspect.getsource(consumer_events)
    assert list(inspect.signature(Consumer._flush_events).parameters) == ["self"]
    assert list(inspect.signature(Consumer.on_send_event_buffered).parameters) == ["self"]


def test_services_would_start_before_the_pool_if_its_step_had_another_name(controller):
    names = [step.name for step in controller.blueprint.order if step is not None]
    assert f"{components.Pool.__module__}.Pool" == "celery.worker.components.Pool"
    pool = next(number for number, name in enumerate(names) if name.endswith("Pool"))
    recorder = next(number for number, name in enumerate(names) if name.endswith("Recorder"))
    assert pool < recorder


def test_leases_would_not_be_renewed_if_a_step_no_longer_started_its_object(controller):
    [step] = [step for step in controller.steps if type(step).__name__ == "Recorder" or isinstance(step.obj, Recorder)]
    step.start(controller)
    assert Recorder.started[-1] == "gis@test"


def test_libraries_would_be_imported_after_the_fork_if_the_setup_signal_came_later():
    """The signal is sent in `on_start`, and the blueprint calls that before it starts a step."""
    source = inspect.getsource(program.Worker.on_start)
    assert "celeryd_after_setup.send(" in source
    assert "sender=self.hostname, instance=self" in source
    blueprint = inspect.getsource(WorkController.Blueprint.start)
    assert blueprint.index("self.on_start()") < blueprint.index("step.start(")


def test_a_worker_of_another_application_is_left_alone_though_signals_belong_to_the_process(application, controller):
    other = Celery(set_as_current=False).Worker(hostname="other@test", queues=["gis"])
    signals.celeryd_after_setup.send(sender="other@test", instance=other)
    assert application.calls == []
    signals.celeryd_after_setup.send(sender="gis@test", instance=controller)
    assert application.calls == [["gis"]]
    assert application.conf.worker_concurrency == 2


def test_running_jobs_would_be_killed_at_once_if_sigterm_no_longer_waited_for_a_soft_shutdown():
    assert ".wait_for_soft_shutdown()" in inspect.getsource(program.on_cold_shutdown)
    parameters = inspect.signature(program.install_worker_term_hard_handler).parameters
    assert list(parameters)[:2] == ["worker", "sig"]


def test_the_grace_period_would_be_slept_through_if_the_worker_did_not_call_hive(controller):
    calls = []
    RunningWorker(controller).on_soft_shutdown(lambda: calls.append("stopping"))
    controller.wait_for_soft_shutdown()
    assert calls == ["stopping"]


def test_a_worker_would_look_idle_if_celerys_state_lost_its_sets():
    assert isinstance(len(state.active_requests), int)
    assert isinstance(len(state.reserved_requests), int)
    assert sum(state.total_count.values()) >= 0


def test_a_job_that_waits_in_a_dead_slot_would_be_renewed_for_ever_if_requests_lost_their_message(controller):
    class Message:
        delivery_tag = "a tag"

    class Reserved:
        id, message = "a job", Message

    state.reserved_requests.add(Reserved)
    try:
        assert RunningWorker(controller).reserved() == {"a tag": "a job"}
    finally:
        state.reserved_requests.discard(Reserved)
    assert {"message", "id"} <= {name for name in dir(Request) if not name.startswith("__")}


def test_a_dead_child_would_only_be_noticed_after_a_lease_if_the_request_class_of_a_task_were_ignored(application):
    assert "symbol_by_name(task.Request)" in inspect.getsource(strategy.default)
    task = application.tasks["gis.dtm"]
    assert isinstance(task, AttemptTask)
    request = object.__new__(task.Request)
    request._task, request._hostname, request._request_dict = task, "gis@test", {}
    request.id = "a job"
    try:
        raise WorkerLostError("Worker exited prematurely: signal 9 (SIGKILL) Job: 0.")
    except WorkerLostError:
        information = ExceptionInfo()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Request, "on_failure", lambda *_, **__: None)
        request.on_failure(information)
    assert application.calls == [("gis@test", "a job", "Worker exited prematurely: signal 9 (SIGKILL) Job: 0.")]


def test_the_story_of_a_job_would_not_name_the_signal_if_billiard_changed_its_words():
    import billiard.pool

    assert "'Worker exited prematurely: {0} Job: {1}.'" in inspect.getsource(billiard.pool)


def test_attempts_would_take_each_other_for_the_worker_if_billiard_renamed_the_main_process():
    code = "from billiard.process import current_process; print(current_process().name)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "MainProcess\n"


def test_other_applications_of_the_process_would_have_hives_tasks_if_shared_were_ignored(settings, application):
    other = Celery("other", set_as_current=False)
    other.finalize()
    assert "gis.dtm" in application.tasks
    assert "gis.dtm" not in other.tasks
