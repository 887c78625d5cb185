"""`hive config set` and `unset`: config.toml by command, with all else in it left alone."""

import stat

import pytest

pytestmark = pytest.mark.wire


def test_a_setting_is_written_and_counts_from_then_on(hive):
    hive.home.mkdir()
    file = hive.home / "config.toml"
    file.write_text("# of the team\nlog_lines = 100  # few\n")
    hive.run("config", "set", "lease_s", "30")
    hive.run("config", "set", "HIVE_KEEP_DAYS", "7")
    assert file.read_text() == "# of the team\nlog_lines = 100  # few\nlease_s = 30\nkeep_days = 7\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shown = {setting["variable"]: setting for setting in hive.json("config", "--show-origin")}
    assert (shown["HIVE_LEASE_S"]["value"], shown["HIVE_LEASE_S"]["origin"]) == ("30.0", str(file))
    hive.run("config", "set", "broker_url", "redis://studio:6379/0")  # an address alone is no secret
    hive.run("config", "unset", "broker_url")
    hive.run("config", "set", "lease_s", "20")
    hive.run("config", "unset", "keep_days")
    assert file.read_text() == "# of the team\nlog_lines = 100  # few\nlease_s = 20\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["set", "leas_s", "30"], "Did you mean 'lease_s'?"),
        (["unset", "leas_s"], "Did you mean 'lease_s'?"),
        (["set", "lease_s", "soon"], "soon"),
        (["set", "home", "elsewhere"], "HIVE_HOME cannot be in config.toml"),
        (["set", "token", "abc"], "HIVE_TOKEN is a secret"),
        (["set", "broker_url", "redis://:abc@host"], "HIVE_BROKER_URL is a secret"),
        (["sett", "lease_s", "30"], "Did you mean 'set'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_set_is_refused_and_nothing_is_written(hive, words, sentence):
    assert sentence in hive.run("config", *words, code=2).stderr
    assert not hive.home.exists()


def test_a_variable_that_overrides_it_is_named(hive):
    said = hive.run("config", "set", "lease_s", "30", environment={"HIVE_LEASE_S": "20"}).stderr
    assert "unset HIVE_LEASE_S" in said
