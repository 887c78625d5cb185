"""The script of a machine's first start, run by a real shell in a folder; what changes a system is a stand-in."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hive.errors import SettingError
from hive.machines import first_start
from hive.machines.first_start import AtFirstStart, Limits, common_values
from hive.machines.records import Machine
from hive.settings import load_settings
from tests.fleet.clouds import run_script
from tests.support import require_program

PACKAGE = "https://example.org/hive_compute-0.1-py3-none-any.whl"


def machine(**more):
    values = {
        "name": "aws-0a1b2c-1",
        "launch": "aws-0a1b2c",
        "count": 1,
        "token": "t",
        "provider": "aws",
        "type": "g4dn.xlarge",
        "region": "us-east-1",
        "is_spot": False,
        "capabilities": "gis=4,training",
        "price_usd_per_h": 0.526,
        "created_at": datetime(2026, 11, 26, 20, 0, tzinfo=UTC),
        "expires_at": datetime(2026, 11, 26, 22, 0, 5, tzinfo=UTC),
    }
    return Machine(**(values | more))


@pytest.fixture
def identity(tmp_path):
    folder = tmp_path / "identity"
    folder.mkdir()
    (folder / "config.toml").write_text("broker_url = \"redis://x'; touch /tmp/never; '\"\n")
    (folder / "redis.password").write_text("$(reboot) `reboot` \"'\\")
    return folder


def script(tmp_path, identity, made, **environment):
    values = {"HIVE_HOME": str(tmp_path / "home"), "HIVE_FLEET_PACKAGE_URL": PACKAGE} | environment
    return AtFirstStart(load_settings({}, values)).script(made, identity, Limits(15, 2.5))


def run(tmp_path, stand_ins, text, fails=""):
    ended, root = run_script(tmp_path, stand_ins, text, fails)
    return ended, root, (tmp_path / "calls").read_text().splitlines()


def test_it_plans_the_end_first_and_then_starts_the_worker(tmp_path, stand_ins, identity):
    ended, root, calls = run(tmp_path, stand_ins, script(tmp_path, identity, machine()))
    assert ended.returncode == 0, ended.stderr
    assert calls.index("systemctl enable --now hive-expiry.timer") < min(
        number for number, call in enumerate(calls) if call.startswith(("apt-get", "curl"))
    )
    assert "OnCalendar=2026-11-26 22:00:05 UTC\n" in (root / "etc/systemd/system/hive-expiry.timer").read_text()
    assert calls[-1] == "systemctl enable --now hive-worker.service"
    assert (
        f"curl -sSfL --retry 5 --retry-connrefused --max-time 600 -o {root}/opt/{Path(PACKAGE).name} {PACKAGE}" in calls
    )
    assert any(call.endswith("-none-any.whl[gis,training]") for call in calls)

    home = root / "var/lib/hive/home"
    for file in identity.iterdir():
        assert (home / file.name).read_text() == file.read_text()
    assert (home / "redis.password").stat().st_mode & 0o077 == 0
    assert (root / "etc/hive/worker.env").read_text().splitlines() == [
        'HIVE_EXPIRES_AT="2026-11-26T22:00:05Z"',
        'HIVE_END_WHEN_IDLE_MIN="15"',
        'HIVE_END_COMMAND="sudo /usr/local/sbin/hive-end"',
        'HIVE_PAID_SINCE="2026-11-26T20:00:00Z"',
        'HIVE_PRICE_USD_PER_H="0.526"',
        'HIVE_MACHINE_BUDGET_USD="2.5"',
        'WORKER_CAPABILITIES="gis=4,training"',
    ]
    unit = (root / "etc/systemd/system/hive-worker.service").read_text()
    assert "ExecStart=/opt/hive/bin/hive worker --name aws-0a1b2c-1\n" in unit
    assert "|| iptables -A OUTPUT -d 169.254.169.254 -m owner --uid-owner hive -j REJECT'\n" in unit


@pytest.mark.parametrize("program", ["apt-get", "curl"])
def test_a_machine_that_cannot_install_its_worker_ends_itself(tmp_path, stand_ins, identity, program):
    ended, _, calls = run(tmp_path, stand_ins, script(tmp_path, identity, machine()), fails=program)
    assert ended.returncode == 7
    assert "the worker could not be installed" in ended.stderr
    assert calls[-1] == "systemctl poweroff"


def test_a_package_that_is_not_the_one_that_was_named_is_not_installed(tmp_path, stand_ins, identity):
    text = script(tmp_path, identity, machine(), HIVE_FLEET_PACKAGE_URL=f"{PACKAGE}#sha256={'0' * 64}")
    ended, _, calls = run(tmp_path, stand_ins, text)
    assert ended.returncode != 0
    assert not any("pip" in call for call in calls)
    assert calls[-1] == "systemctl poweroff"


def test_a_droplet_destroys_itself_with_a_token_of_its_own(tmp_path, stand_ins, identity):
    token = tmp_path / "token"
    token.write_text("dop_v1_delete_only\n")
    token.chmod(0o600)
    own = {"HIVE_DO_MACHINE_TOKEN_FILE": str(token)}
    text = script(tmp_path, identity, machine(provider="digitalocean"), **own)
    _, root, _ = run(tmp_path, stand_ins, text)
    assert (root / "etc/hive/end.sh").stat().st_mode & 0o077 == 0
    (stand_ins / "curl").write_text(
        f'#!/bin/bash\necho curl "$@" >>"{tmp_path}/calls"\n[[ $* != *@-* ]] || cat >"{tmp_path}/header"\necho 4711\n'
    )
    environment = {"PATH": f"{stand_ins}:{os.environ['PATH']}", "FAILS": ""}
    subprocess.run(["/bin/bash", root / "usr/local/sbin/hive-end"], env=environment, check=True)
    *_, delete, off = (tmp_path / "calls").read_text().splitlines()
    assert (tmp_path / "header").read_text() == "Authorization: Bearer dop_v1_delete_only\n"
    assert delete.endswith("https://api.digitalocean.com/v2/droplets/4711")
    assert "-X DELETE" in delete
    assert "dop_v1" not in delete  # others of that machine see the words of a command
    assert off == "systemctl poweroff"
    token.chmod(0o644)
    with pytest.raises(SettingError, match="Other users can read .* Run: chmod 600"):
        script(tmp_path, identity, machine(provider="digitalocean"), **own)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://example.org/a.whl",
        "https://example.org/a.zip",
        "https:///a.whl",
        f"{PACKAGE}#sha256=0",
        "file:///a.whl",
    ],
)
def test_what_machines_cannot_install_safely_is_refused(tmp_path, identity, url):
    with pytest.raises(SettingError, match="HIVE_FLEET_PACKAGE_URL must name the package that new machines install"):
        script(tmp_path, identity, machine(), HIVE_FLEET_PACKAGE_URL=url)


@pytest.mark.parametrize("provider", ["aws", "digitalocean"])
def test_shellcheck_has_no_finding_in_the_script_of_a_first_start(tmp_path, identity, provider):
    token = tmp_path / "token"
    token.write_text("dop_v1_delete_only")
    token.chmod(0o600)
    settings = load_settings({}, {"HIVE_HOME": str(tmp_path / "home"), "HIVE_DO_MACHINE_TOKEN_FILE": str(token)})
    rented = machine(provider=provider)
    values = common_values(settings, rented)
    check_shell(values["HIVE_END_SCRIPT"])
    check_shell(script(tmp_path, identity, rented))
    keys = {"HIVE_SHELL": "/bin/bash", "HIVE_HOST_KEY": "a", "HIVE_HOST_KEY_PUBLIC": "b", "HIVE_AUTHORIZED_KEY": "c"}
    check_shell(first_start.script(values | keys, "over_ssh"))


def check_shell(text):
    # Values in front of the script are quoted data, among them the script with which the machine ends itself (SC2016).
    command = [require_program("shellcheck"), "--shell=bash", "--exclude=SC2016", "-"]
    ended = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stdout
