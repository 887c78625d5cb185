"""Flags go before the environment, that before config.toml, that before the default."""

import stat

import pytest

from hive.errors import SettingError
from hive.settings import SETTINGS, find_setting, load_settings, write_setting


@pytest.fixture
def home(tmp_path):
    (tmp_path / "config.toml").write_text('redis_port = 7001\nstore = "file:///from/file"\n')
    return tmp_path


def test_flags_go_before_environment_before_file_before_default(home):
    environment = {"HIVE_HOME": str(home), "HIVE_REDIS_PORT": "7002", "MAX_CONCURRENT_TASKS": "9"}
    settings = load_settings({"redis_port": 7003}, environment)
    assert (settings.redis_port, settings.store, settings.max_concurrent_tasks) == (7003, "file:///from/file", 9)
    assert load_settings({}, environment).redis_port == 7002
    assert load_settings({}, {"HIVE_HOME": str(home)}).redis_port == 7001
    assert load_settings({}, {"HIVE_HOME": str(home / "other")}).redis_port == 6379


def test_each_value_knows_where_it_comes_from(home):
    origins = load_settings({"broker_url": "redis://x"}, {"HIVE_HOME": str(home), "HIVE_CACHE": "/c"}).origins
    assert origins["broker_url"] == "flag --broker-url"
    assert origins["cache"] == "environment HIVE_CACHE"
    assert origins["store"] == str(home / "config.toml")
    assert origins["max_attempts"] == "default"


@pytest.mark.parametrize(
    ("role", "file"),
    [("", "access/submitter.password"), ("worker", "access/worker.password"), ("admin", "redis.password")],
)
def test_each_process_finds_its_own_password_of_the_local_redis_under_the_home(home, role, file):
    (home / "access").mkdir()
    (home / file).write_text("secret\n")
    settings = load_settings({}, {"HIVE_HOME": str(home), "HIVE_ROLE": role})
    assert settings.broker_url == f"redis://{role or 'submitter'}:secret@127.0.0.1:7001/0"
    assert settings.origins["broker_url"] == str(home / file)


def test_a_role_that_there_is_not_is_refused(home):
    with pytest.raises(SettingError, match="one of submitter, worker, gateway, admin"):
        load_settings({"role": "root"}, {"HIVE_HOME": str(home)})


def test_a_folder_in_the_file_may_be_said_from_where_the_file_is(home):
    (home / "config.toml").write_text('password_file = "mine"\ncache = "/big/cache"\n')
    settings = load_settings({}, {"HIVE_HOME": str(home)})
    assert (settings.password_file, str(settings.cache)) == (home / "mine", "/big/cache")


def test_a_named_broker_gets_its_password_from_the_file_that_is_named(home):
    (home / "worker.password").write_text("se/cret\n")
    environment = {"HIVE_HOME": str(home), "HIVE_PASSWORD_FILE": str(home / "worker.password")}
    settings = load_settings({}, environment | {"HIVE_BROKER_URL": "redis://studio@mac:6379/0"})
    assert settings.broker_url == "redis://studio:se%2Fcret@mac:6379/0"
    settings = load_settings({}, environment | {"HIVE_BROKER_URL": "rediss://:own@mac:6379/0"})
    assert settings.broker_url == "rediss://:own@mac:6379/0"


def test_a_named_broker_does_not_get_the_password_of_this_home(home):
    (home / "access").mkdir()
    (home / "access" / "submitter.password").write_text("secret\n")
    settings = load_settings({}, {"HIVE_HOME": str(home), "HIVE_BROKER_URL": "redis://mac:6379/0"})
    assert settings.broker_url == "redis://mac:6379/0"


def test_the_token_may_be_in_a_file_elsewhere(home):
    (home / "token").write_text("key\n")
    settings = load_settings({}, {"HIVE_HOME": str(home), "HIVE_TOKEN_FILE": str(home / "token")})
    assert (settings.token, settings.origins["token"]) == ("key", str(home / "token"))


def test_a_secret_that_is_missing_or_unreadable_is_named(home):
    environment = {"HIVE_HOME": str(home), "HIVE_BROKER_URL": "redis://mac:6379/0"}
    with pytest.raises(SettingError, match="HIVE_PASSWORD_FILE names .*none, which does not exist or is empty."):
        load_settings({}, environment | {"HIVE_PASSWORD_FILE": str(home / "none")})
    with pytest.raises(SettingError, match="Cannot read the secret in"):
        load_settings({}, environment | {"HIVE_TOKEN_FILE": str(home)})


def test_a_written_setting_is_read_again_and_the_other_lines_stay(home):
    (home / "config.toml").write_text('# mine\nredis_port = 7001  # old\nstore = "file:///from/file"')
    environment = {"HIVE_HOME": str(home)}
    write_setting(load_settings({}, environment), "redis_port", 7005)
    assert (home / "config.toml").read_text() == '# mine\nredis_port = 7005\nstore = "file:///from/file"\n'
    assert load_settings({}, environment).redis_port == 7005
    assert load_settings({}, environment | {"HIVE_REDIS_PORT": "7002"}).redis_port == 7002


def test_a_setting_is_written_where_there_was_no_file(tmp_path):
    settings = load_settings({}, {"HIVE_HOME": str(tmp_path)})
    write_setting(settings, "redis_port", 7005)
    assert settings.config_file.read_text() == "redis_port = 7005\n"
    assert stat.S_IMODE(settings.config_file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("HIVE_REDIS_PORT", "7005", "redis_port = 7005"),
        ("hive_lease_s", "2.5", "lease_s = 2.5"),
        ("allow_scripts", "yes", "allow_scripts = true"),
        ("cache_max_bytes", "50GB", 'cache_max_bytes = "50GB"'),
        ("cache", "/big/caché", 'cache = "/big/caché"'),
        ("end_command", 'say "a\\b"\n\x7f', r'end_command = "say \"a\\b\"\n\u007f"'),
    ],
)
def test_a_written_setting_has_the_type_that_toml_has_for_it(tmp_path, name, value, line):
    environment = {"HIVE_HOME": str(tmp_path)}
    write_setting(load_settings({}, environment), name, value)
    assert (tmp_path / "config.toml").read_text() == f"{line}\n"
    field = find_setting(name).name
    assert getattr(load_settings({}, environment), field) == find_setting(name).read(value)


def test_a_relative_path_is_written_as_one_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_setting(load_settings({}, {"HIVE_HOME": str(tmp_path / "home")}), "cache", "here")
    assert load_settings({}, {"HIVE_HOME": str(tmp_path / "home")}).cache == tmp_path / "here"


def test_a_removed_setting_has_its_default_again(home):
    write_setting(load_settings({}, {"HIVE_HOME": str(home)}), "redis_port", None)
    assert (home / "config.toml").read_text() == 'store = "file:///from/file"\n'
    assert load_settings({}, {"HIVE_HOME": str(home)}).redis_port == 6379


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("redis_prot", "1", "No setting 'redis_prot'. Settings: .* Did you mean 'redis_port'"),
        ("redis_port", "70000", "HIVE_REDIS_PORT cannot be '70000' .*: it must be a port, 1 to 65535."),
        ("home", "/elsewhere", "HIVE_HOME cannot be in config.toml"),
    ],
)
def test_a_setting_that_cannot_be_written_leaves_the_file_as_it_was(home, name, value, words):
    before = (home / "config.toml").read_text()
    with pytest.raises(SettingError, match=words):
        write_setting(load_settings({}, {"HIVE_HOME": str(home)}), name, value)
    assert (home / "config.toml").read_text() == before


def test_a_file_that_would_no_longer_be_toml_is_not_written(tmp_path):
    (tmp_path / "config.toml").write_text('"redis_port" = 7001\n')
    with pytest.raises(SettingError, match="cannot be read: Cannot overwrite a value"):
        write_setting(load_settings({}, {"HIVE_HOME": str(tmp_path)}), "redis_port", 7002)
    assert (tmp_path / "config.toml").read_text() == '"redis_port" = 7001\n'


def test_no_two_settings_share_a_name_or_a_variable():
    assert (
        len({setting.name for setting in SETTINGS}) == len({setting.variable for setting in SETTINGS}) == len(SETTINGS)
    )
    assert {setting.group for setting in SETTINGS} == {"Clients and this Mac", "Workers", "Other machines"}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"HIVE_REDIS_PORT": "abc"}, "HIVE_REDIS_PORT cannot be 'abc'"),
        ({"HIVE_REDIS_PORT": "70000"}, "it must be a port"),
        ({"MAX_CONCURRENT_TASKS": "0"}, "it must be at least 1"),
        ({"HIVE_STORE": "/folder"}, "HIVE_STORE cannot be '/folder' .*: it must be file:///folder or another URL"),
        ({"HIVE_STORE": "file://"}, "HIVE_STORE cannot be"),
        ({"HIVE_STORE": "s3:bucket"}, "HIVE_STORE cannot be"),
        ({"HIVE_GATEWAY_URL": "localhost:8000"}, "HIVE_GATEWAY_URL cannot be .*: it must be http://HOST:PORT"),
        ({"HIVE_ALLOW_SCRIPTS": "maybe"}, "HIVE_ALLOW_SCRIPTS cannot be 'maybe' .*: it must be 1 or 0, true or false"),
        ({"HIVE_CACHE_MAX_BYTES": "many"}, "HIVE_CACHE_MAX_BYTES cannot be 'many'"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_its_origin(tmp_path, environment, words):
    with pytest.raises(SettingError, match=words) as refused:
        load_settings({}, {"HIVE_HOME": str(tmp_path), **environment})
    assert next(iter(environment)) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("redis_port = ", "cannot be read"),
        ("redis_prot = 1", "unknown setting 'redis_prot'. Settings: .* Did you mean 'redis_port'"),
    ],
)
def test_a_broken_config_file_is_refused(tmp_path, text, words):
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(SettingError, match=words):
        load_settings({}, {"HIVE_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("file", "variable", "is_allowed"),
    [
        ("", "", False),
        ("", "1", True),
        ("", "true", True),
        ("allow_scripts = true", "", True),
        ("allow_scripts = true", "0", False),
    ],
)
def test_scripts_are_off_until_the_owner_of_a_worker_turns_them_on(tmp_path, file, variable, is_allowed):
    (tmp_path / "config.toml").write_text(file)
    settings = load_settings({}, {"HIVE_HOME": str(tmp_path), "HIVE_ALLOW_SCRIPTS": variable})
    assert settings.allow_scripts is is_allowed


def test_a_machine_that_names_a_gateway_keeps_its_files_there(tmp_path):
    own = load_settings({}, {"HIVE_HOME": str(tmp_path)})
    far = load_settings({}, {"HIVE_HOME": str(tmp_path), "HIVE_GATEWAY_URL": "http://mac:8000/"})
    assert own.store == (tmp_path / "store").as_uri()
    assert own.gateway_url == "http://127.0.0.1:8000"
    assert far.store == "http://mac:8000/blob"


def test_the_token_of_the_local_gateway_is_found_under_the_home(tmp_path):
    (tmp_path / "gateway.token").write_text("secret\n")
    settings = load_settings({}, {"HIVE_HOME": str(tmp_path)})
    assert (settings.token, settings.origins["token"]) == ("secret", str(tmp_path / "gateway.token"))
