"""`hive.Client` takes its Hive from arguments, otherwise from the environment, and changes neither."""

import os

import pytest

import hive
from hive.errors import BadParameterError, SettingError, UnknownNameError


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("HIVE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HIVE_HOME", str(tmp_path / "default"))


def test_an_argument_goes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HIVE_TOKEN", "of-the-environment")
    before = dict(os.environ)
    named = hive.Client(tmp_path / "field", broker="redis://field:6380/0", gateway="http://field:8000", token="bearer")
    default = hive.Client()
    assert (named.settings.home, default.settings.home) == (tmp_path / "field", tmp_path / "default")
    assert named.settings.broker_url == "redis://field:6380/0"
    assert (named.settings.store, named.settings.token) == ("http://field:8000/blob", "bearer")
    assert (default.settings.store, default.settings.token) == (
        (tmp_path / "default" / "store").as_uri(),
        "of-the-environment",
    )
    assert dict(os.environ) == before


def test_a_value_that_cannot_be_used_is_refused_at_once():
    with pytest.raises(SettingError, match="HIVE_GATEWAY_URL cannot be 'field'"):
        hive.Client(gateway="field")


def test_job_wide_options_are_those_of_the_client_that_has_them():
    here = hive.Client()
    urgent = here.with_options(priority="high", budget_usd="2.5")
    assert (urgent._options.priority, urgent._options.budget_usd, here._options.priority) == ("high", 2.5, "normal")
    with pytest.raises(BadParameterError, match="The priority must be low, normal or high, not 'top'"):
        here.with_options(priority="top")
    with pytest.raises(UnknownNameError, match="Did you mean 'budget_usd'"):
        here.with_options(budget_usdd=1)


def test_a_client_that_was_not_used_has_nothing_to_close():
    with hive.Client() as here:
        pass
    here.close()
