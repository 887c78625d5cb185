"""`hive up --at-login`: the files that launchd and systemd read, and that what they say starts Redis."""

import os
import plistlib
import shlex
import shutil
import subprocess

import pytest

from hive.errors import ServiceError
from hive.home import at_login
from tests.support import Hive, missing

pytestmark = pytest.mark.wire


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A user with a folder of their own, and stand-ins for launchctl and systemctl that write down their words."""
    programs, home = tmp_path / "programs", tmp_path / "a user's 100 % $HOME"
    programs.mkdir()
    home.mkdir()
    for name in ("launchctl", "systemctl"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/calls"\n')
        (programs / name).chmod(0o755)
    (tmp_path / "calls").touch()
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    hive = Hive(home / ".hive", HOME=str(home), XDG_CONFIG_HOME="")
    hive.environment["PATH"] = os.pathsep.join([str(programs), hive.environment["PATH"]])
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("PATH", path)
    return hive


def calls(user):
    return (user.home.parents[1] / "calls").read_text().splitlines()


def run_alone(user, command, environment):
    """Run what an agent says, with nothing else of this shell, and see that Redis is there."""
    try:
        subprocess.run(command, env=environment, cwd="/", check=True, capture_output=True, timeout=60)
        assert user.redis.ping()
    finally:
        user.run("down")


def test_systemd_starts_redis_at_login_and_off_ends_that(user):
    said = user.run("up", "--redis-only", "--at-login").stderr
    [file] = (user.home.parent / ".config/systemd/user").iterdir()
    assert f"They start at each login: {file}" in said
    assert calls(user) == ["systemctl --user daemon-reload", f"systemctl --user enable {file.name}"]
    assert "hive up --at-login off" in user.run("down").stderr
    lines = [line.partition("=") for line in file.read_text().splitlines()]
    words = [
        shlex.split(value.replace("%%", "%").replace("$$", "$"))[0] for name, _, value in lines if name == "Environment"
    ]
    [start] = [
        shlex.split(value.replace("%%", "%").replace("$$", "$")) for name, _, value in lines if name == "ExecStart"
    ]
    environment = dict(word.split("=", 1) for word in words)
    assert environment["HIVE_HOME"] == str(user.home)
    assert start[-2:] == ["up", "--redis-only"]
    run_alone(user, start, environment)
    user.run("up", "--at-login", "off")
    assert not file.exists()
    assert calls(user)[-1] == f"systemctl --user disable {file.name}"
    assert "did not start at login" in user.run("up", "--at-login", "off").stdout


def test_systemd_itself_finds_nothing_wrong_with_the_unit(user):
    if shutil.which("systemd-analyze") is None:
        missing("the program systemd-analyze")
    file = at_login.install(user.settings, ["--lan", "--address", "studio"], platform="linux")
    command = ["/usr/bin/env", "systemd-analyze", "verify", "--user", file]
    environment = os.environ | {"XDG_RUNTIME_DIR": str(user.home.parent)}  # a container has none
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (ended.returncode, [line for line in ended.stderr.splitlines() if file.name in line]) == (0, [])


def test_launchd_starts_redis_at_login(user):
    file = at_login.install(user.settings, ["--redis-only"], platform="darwin")
    assert file.parent == user.home.parent / "Library/LaunchAgents"
    label = file.stem
    assert calls(user) == [
        f"launchctl bootout gui/{os.getuid()}/{label}",
        f"launchctl bootstrap gui/{os.getuid()} {file}",
    ]
    agent = plistlib.loads(file.read_bytes())
    assert (agent["Label"], agent["RunAtLoad"], agent["AbandonProcessGroup"]) == (label, True, True)
    environment = agent["EnvironmentVariables"] | {"HIVE_REDIS_PORT": str(user.port)}
    run_alone(user, agent["ProgramArguments"], environment)
    assert at_login.remove(user.settings, platform="darwin")
    assert not file.exists()


def test_no_secret_is_written_down(user):
    user.environment["HIVE_TOKEN"] = "a-secret-token"
    file = at_login.install(user.settings, platform="linux")
    assert "a-secret-token" not in file.read_text()


def test_each_home_has_an_agent_of_its_own(user, tmp_path):
    other = Hive(tmp_path / "other", **{"HOME": user.environment["HOME"]})
    assert at_login.agent_file(user.settings) != at_login.agent_file(other.settings)


def test_where_systemd_refuses_nothing_is_left(user):
    (user.home.parents[1] / "programs/systemctl").write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2; exit 1\n")
    with pytest.raises(ServiceError, match="Failed to connect to bus"):
        at_login.install(user.settings, platform="linux")
    assert not at_login.is_installed(user.settings, platform="linux")


def test_in_the_foreground_nothing_starts_at_login(user):
    assert "pass one of them" in user.run("up", "--at-login", "--foreground", code=2).stderr
