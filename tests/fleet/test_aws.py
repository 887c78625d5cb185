"""Machines of Amazon, from the price to their end: real commands, real workers, moto in Amazon's place."""

import base64
import io
import json
import shlex
import signal
import subprocess
import sys
import tarfile
from datetime import datetime, timedelta

import pexpect
import pytest

from hive.home.users import identities
from tests.fleet.clouds import RentedMachines, amazons_error, slow
from tests.fleet.conftest import IMAGE
from tests.support import wait_until

pytestmark = pytest.mark.wire


def tags(instance):
    return {one["Key"]: one["Value"] for one in instance["Tags"]}


def test_machines_are_started_listed_and_ended(rented, line, machines, ask_for, running):
    said = rented.run(*ask_for, "--count", "2", "--hours", "2", "--budget", "5", "--json")
    assert (
        "2 x g4dn.xlarge in us-east-1 (4 vCPU, 16 GiB, 1 x T4): $0.526 an hour each; at most $2.10 for 2 h"
        in said.stderr
    )
    started = json.loads(said.stdout)
    assert [one["InstanceId"] for one in running()] == [one["id"] for one in started]

    shown = rented.json("fleet", "ls")
    assert [(one["name"], one["id"], one["state"]) for one in shown] == [
        (one["name"], one["id"], "idle") for one in started
    ]
    assert all(one["idle_s"] is not None and one["workers"] == [f"test@{one['name']}"] for one in shown)
    assert all(0 <= one["cost_usd"] < 0.526 / 20 for one in shown)

    rented.run("submit", "test")
    first, second = started
    rented.run("fleet", "down", first["id"])
    assert [one["InstanceId"] for one in running()] == [second["id"]]
    assert [one["name"] for one in rented.json("access", "ls")] == [second["name"]]
    rented.run("fleet", "down", "--all")
    assert running() == []
    assert rented.json("access", "ls") == []
    assert "No machine is rented" in rented.run("fleet", "ls").stderr
    assert {one["state"] for one in rented.json("fleet", "ls", "--all")} == {"ended"}


def test_what_amazon_is_asked_for_is_safe(rented, line, machines, ask_for, running, inside):
    inside(rented, *ask_for, "--spot")
    asked = [one.fields for one in line.asked("RunInstances")]
    for one in asked:
        assert one["ImageId"] == IMAGE
        assert (one["MinCount"], one["MaxCount"], one["InstanceType"]) == ("1", "1", "g4dn.xlarge")
        assert one["InstanceInitiatedShutdownBehavior"] == "terminate"
        assert one["MetadataOptions.HttpTokens"] == "required"
        assert one["InstanceMarketOptions.MarketType"] == "spot"
        assert {one[f"TagSpecification.{number}.ResourceType"] for number in (1, 2, 3)} == {
            "instance", "volume", "spot-instances-request",
        }  # fmt: skip
    [parameter] = {one.json["Name"] for one in line.asked("GetParameter")}
    assert "nvidia-driver" in parameter  # the T4 needs it
    assert all("AKIATEST" in one.head["authorization"] for one in line.requests)
    assert not any(b"a-secret" in one.body for one in line.requests)

    for instance in running():
        record = json.loads((rented.home / "fleet" / f"{tags(instance)['hive-machine']}.json").read_text())
        assert record["token"] in {one["ClientToken"] for one in asked}
        assert (record["resource_id"], record["is_spot"]) == (instance["InstanceId"], True)
        assert tags(instance)["hive"] == (rented.home / "fleet" / "id").read_text()
        assert datetime.fromisoformat(tags(instance)["hive-expires"]) - datetime.fromisoformat(
            record["created_at"]
        ) == (timedelta(hours=2))
    groups = running.client.describe_security_groups(GroupIds=[running()[0]["SecurityGroups"][0]["GroupId"]])
    [rule] = groups["SecurityGroups"][0]["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"], rule["IpRanges"][0]["CidrIp"]) == (22, 22, "192.0.2.7/32")

    script = base64.b64decode(asked[0]["UserData"]).decode()
    packed = script.split("HIVE_IDENTITY=")[1].split("\n")[0].strip("'")
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as archive:
        assert {"config.toml", "redis.password", "worker.key", "trusted.json"} <= set(archive.getnames())
    assert 'HIVE_SPOT_NOTICE_URL="http://169.254.169.254"' in script
    inside(rented, "fleet", "down", "--all")
    assert running() == []


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (
            ["--budget", "1"],
            5,
            "1 x g4dn.xlarge for 2 h cost up to $1.05, more than the budget of $1.00. Nothing was started.",
        ),
        (["--type", "x1.16xlarge"], 2, "The price of x1.16xlarge in us-east-1 is unknown."),
        (["--type", "g9.huge"], 2, "AWS has no instance type 'g9.huge' in us-east-1."),
        (["--capabilities", "gsi"], 2, "There is no capability 'gsi'."),
        (["--capabilities", "gis,gis=2"], 2, "names a capability twice"),
        (["--budget", "nan"], 2, "nan is no amount"),
        (["--hours", "1e9"], 2, "is not in the range 0<x<=720.0"),
        (["--region", "no where"], 2, "AWS has no region 'no where'."),
        (["--ssh-from", "home; rm -rf /"], 2, "does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_what_cannot_or_should_not_be_started_is_refused(rented, line, ask_for, running, refused, more, code, words):
    assert words in refused(rented, *ask_for, *more, code=code)
    assert (line.asked("RunInstances"), running()) == ([], [])


@pytest.mark.parametrize(
    ("words", "own", "code", "said"),
    [
        (["fleet", "up", "aws", "--type", "t3.micro"], {"AWS_PROFILE": "nosuch"}, 4, "Correct AWS_PROFILE, or create"),
        (["cost", "refresh", "aws"], {"AWS_PROFILE": "nosuch"}, 4, "Correct AWS_PROFILE, or create"),
        (["cost", "refresh", "aws"], {}, 4, "No AWS credentials found."),
        (["fleet", "down", "nosuch"], {}, 3, "There is no rented machine 'nosuch'. Known are: none."),
        (["cost", "estimate", "--type", "g4dn.xlarge", "--hours", "inf"], {}, 2, "inf is no amount"),
        (["cost", "estimate", "--type", "c-4", "--hours", "1", "--provider", "asw"], {}, 2, "Did you mean 'aws'?"),
    ],
)
def test_wrong_names_are_one_sentence_and_not_a_traceback(rented, line, refused, monkeypatch, words, own, code, said):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setitem(rented.environment, name, "")
    assert said in refused(rented, *words, code=code, **own)
    assert line.requests == []


def test_a_region_that_does_not_answer_is_known_to_be_misspelt(rented, refused, ask_for, monkeypatch):
    monkeypatch.setattr("hive.providers.aws._ATTEMPTS", 1)
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert "Did you mean 'us-east-1'?" in refused(rented, *ask_for, "--region", "us-eats-1", code=2, **away)
    assert "AWS does not answer in us-east-1" in refused(rented, *ask_for, code=4, **away)


def test_nothing_is_spent_without_a_yes(rented, line, ask_for, running):
    without = [word for word in ask_for if word != "--yes"]
    ended = rented.run(*without, code=2, stdin=subprocess.DEVNULL)
    assert "$0.526 an hour each; at most $1.05 for 2 h" in ended.stderr
    assert "Not a terminal: pass --yes to confirm spending." in ended.stderr
    rented.run(*without, "--dry-run")
    assert (line.asked("RunInstances"), running()) == ([], [])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "needs to know from which address: pass --ssh-from ADDRESS/32"),
        (["--ssh-from", "192.0.2.7/32"], 4, "Redis and the gateway do not both run here"),
        (["--via", "lan"], 2, "or open it: hive down, then hive up --lan"),
        (["--ssh-from", "home; rm -rf /"], 2, "--ssh-from is 'home; rm -rf /'"),
        (["--ssh-from", "192.0.2.7", "--ssh-key", "{home}/private"], 2, "is not an ssh public key"),
    ],
)
def test_ways_that_do_not_fit_are_refused_before_amazon_is_asked(hive, line, refused, tmp_path, words, code, said):
    (tmp_path / "private").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    words = [word.format(home=tmp_path) for word in words]
    own = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{line.port}"}
    assert said in refused(hive, "fleet", "up", "aws", "--type", "g4dn.xlarge", "--yes", *words, code=code, **own)
    assert line.requests == []


def test_machines_that_come_by_themselves_let_nobody_in_by_mistake(rented, line, refused):
    words = ["fleet", "up", "aws", "--type", "g4dn.xlarge", "--yes", "--ssh-from", "192.0.2.7/32"]
    assert "pass both --ssh-key FILE.pub and --ssh-from" in refused(rented, *words, code=2)
    assert line.requests == []


@pytest.mark.parametrize(
    ("action", "error", "code", "words"),
    [
        (
            "DescribeInstanceTypes",
            amazons_error("AuthFailure", "no", 401),
            4,
            "AWS refuses the credentials (AuthFailure)",
        ),
        (
            "RunInstances",
            amazons_error("UnauthorizedOperation", "You may not", 403),
            4,
            "These credentials are not allowed to start a",
        ),
        (
            "RunInstances",
            amazons_error("VcpuLimitExceeded", "You have 4 vCPU"),
            1,
            "Lower --count, or request a higher quota from AWS",
        ),
        ("RunInstances", amazons_error("InsufficientInstanceCapacity", "None"), 1, "Try another --region or --type"),
        (
            "RunInstances",
            amazons_error("InternalError", "Oops", 500),
            4,
            "AWS could not start a g4dn.xlarge (InternalError)",
        ),
    ],
)
def test_what_amazon_refuses_is_one_sentence_and_leaves_nothing(
    rented, line, ask_for, running, refused, action, error, code, words
):
    line.fail(action, error)
    assert words in refused(rented, *ask_for, code=code)
    assert running() == []
    assert identities(rented.settings) == []
    tokens = [one.fields["ClientToken"] for one in line.asked("RunInstances")]
    assert len(set(tokens)) <= 1
    assert len(tokens) == (5 if error.status == 500 else min(len(tokens), 1))


def test_the_first_machine_is_ended_when_the_second_cannot_be_had(rented, line, ask_for, running, refused):
    def second_time(request):
        is_second = request.action == "RunInstances" and len(line.asked("RunInstances")) > 1
        return amazons_error("InsufficientInstanceCapacity", "None left") if is_second else None

    line.answers.append(second_time)
    assert "Try another --region or --type" in refused(rented, *ask_for, "--count", "2", code=1)
    assert len(line.asked("RunInstances")) == 2
    assert len(line.asked("TerminateInstances")) == 1
    assert (running(), identities(rented.settings)) == ([], [])


def test_a_passing_error_is_asked_again_with_the_same_token(rented, line, machines, ask_for, running, inside):
    line.fail("RunInstances", amazons_error("InternalError", "Oops", 500), times=2)
    inside(rented, *ask_for)
    assert len({one.fields["ClientToken"] for one in line.asked("RunInstances")}) == 1
    assert len(line.asked("RunInstances")) == 3
    assert len(running()) == 1


def test_an_answer_that_never_comes_leaves_nothing_running(rented, line, ask_for, running, refused):
    """Amazon starts the instance, and the answer is lost each time; moto even starts one each time."""
    line.after.append(
        lambda request, answer: (
            amazons_error("InternalError", "lost", 503) if request.action == "RunInstances" else None
        )
    )
    refused(rented, *ask_for, code=4)
    assert len({one.fields["ClientToken"] for one in line.asked("RunInstances")}) == 1
    assert running() == []


def test_a_time_out_is_asked_again_with_the_same_token(rented, line, ask_for, running, refused, monkeypatch):
    """Amazon would answer with the first instance; moto starts a second one, which is found by its name."""
    monkeypatch.setattr("hive.providers.aws._READ_S", 1)

    def late_at_first(request, answer):
        is_first = request.action == "RunInstances" and len(line.asked("RunInstances")) == 1
        return slow(2.5)(request, answer) if is_first else None

    line.after.append(late_at_first)
    refused(rented, *ask_for, code=1, HIVE_FLEET_REPORT_S="2")
    first, second = line.asked("RunInstances")
    assert first.fields["ClientToken"] == second.fields["ClientToken"]
    assert running() == []


def test_a_machine_that_never_reports_is_ended_and_said_so(rented, line, ask_for, running, refused):
    said = refused(rented, *ask_for, code=1, HIVE_FLEET_REPORT_S="2")
    assert "was ended: no worker reported within 2 s. Can machines reach this Hive" in said
    assert (running(), identities(rented.settings)) == ([], [])
    assert "never reported" in rented.json("fleet", "ls", "--all")[0]["why"]


def test_an_idle_machine_ends_itself_and_nothing_of_it_is_left(rented, line, ask_for, running, moto, tmp_path, inside):
    """Powering off is terminating, at Amazon; here the end command does that in its place."""
    script = tmp_path / "end.py"
    script.write_text(
        "import boto3\n"
        f"ec2 = boto3.client('ec2', region_name='us-east-1', endpoint_url='http://127.0.0.1:{moto}',"
        " aws_access_key_id='x', aws_secret_access_key='x')\n"
        "found = ec2.describe_instances()['Reservations'][0]['Instances'][0]\n"
        "ec2.terminate_instances(InstanceIds=[found['InstanceId']])\n"
    )
    own = {"HIVE_END_WHEN_IDLE_MIN": "0.05", "HIVE_END_COMMAND": shlex.join([sys.executable, str(script)])}
    with RentedMachines(rented, tmp_path) as machines:
        inside(rented, *ask_for)
        machines.environment |= own  # only now, or it could end before `up` has seen it
        machines.restart_all()
        wait_until(lambda: not running(), "it has ended itself")
    assert inside.json(rented, "fleet", "ls") == []
    [ended] = inside.json(rented, "fleet", "ls", "--all")
    assert (ended["state"], ended["why"]) == ("ended", "it has ended itself, or was taken away")
    assert identities(rented.settings) == []


def test_machines_are_listed_though_amazon_does_not_answer(rented, line, machines, ask_for, refused, inside):
    inside(rented, *ask_for)
    line.fail("DescribeInstances", amazons_error("AuthFailure", "no", 401))
    ended = inside(rented, "fleet", "ls", "--json")
    assert "AWS refuses the credentials" in ended.err
    assert [one["state"] for one in json.loads(ended.out)] == ["idle"]


def test_who_is_asked_may_say_no(rented, line, ask_for):
    words = [word for word in ask_for if word != "--yes"]
    terminal = pexpect.spawn(rented.command(*words)[0], words, env=rented.environment, encoding="utf-8", timeout=30)
    terminal.expect_exact("Spend up to $1.05? [y/N]:")
    terminal.sendline("n")
    terminal.expect_exact("Nothing was started.")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert (terminal.exitstatus, line.asked("RunInstances")) == (1, [])


@pytest.mark.parametrize(
    ("moment", "number"), [("while it waits", signal.SIGHUP), ("while Amazon answers", signal.SIGINT)]
)
def test_ctrl_c_and_a_closed_terminal_leave_nothing_running(rented, line, ask_for, running, moment, number):
    if moment == "while Amazon answers":
        line.after.append(
            lambda request, answer: slow(3)(request, answer) if request.action == "RunInstances" else None
        )
    process = subprocess.Popen(
        rented.command(*ask_for), env=rented.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    wait_until(running, "the instance is there")
    process.send_signal(number)
    said = process.communicate(timeout=40)[1]
    assert (process.returncode, running()) == (130, []), said
    assert "ending aws-" in said
    assert rented.json("access", "ls") == []


def test_what_hive_forgot_is_found_by_its_tag(rented, line, machines, ask_for, running, inside):
    inside(rented, *ask_for, "--count", "2")
    kept, lost = inside.json(rented, "fleet", "ls")
    (rented.home / "fleet" / f"{lost['name']}.json").unlink()
    foreign = running.client.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    found = inside.json(rented, "fleet", "gc")
    assert [(one["id"], one["why"]) for one in found] == [(lost["id"], "this Hive has no record of it")]
    assert {one["InstanceId"] for one in running()} == {kept["id"], foreign}
    assert [one["name"] for one in inside.json(rented, "access", "ls")] == [kept["name"]]

    file = rented.home / "fleet" / f"{kept['name']}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"expires_at": "2026-01-01T00:00:00Z"}))
    assert [one["why"] for one in inside.json(rented, "fleet", "gc")] == ["it is past its expiry"]
    assert [one["InstanceId"] for one in running()] == [foreign]
    assert "Nothing is left over. Checked: aws us-east-1." in inside(rented, "fleet", "gc").err


def test_a_job_that_waits_gets_a_machine(rented, line, machines, ask_for, running, inside):
    job = rented.submit("test")
    ssh = ask_for[ask_for.index("--ssh-key") : ask_for.index("--yes")]
    words = [
        "fleet",
        "auto",
        "--max",
        "1",
        "--budget",
        "10/day",
        "--region",
        "us-east-1",
        *ssh,
        "--wait",
        "1",
        "--spot",
    ]
    wait_until(lambda: inside.json(rented, "queues")[0]["oldest_s"] > 1.2, "it has waited")
    [said] = json.loads(inside(rented, *words, "--dry-run", "--json").out)
    assert (said["queue"], said["is_start"], running()) == ("test", True, [])
    line.fail("RunInstances", amazons_error("InsufficientInstanceCapacity", "None"), times=1)
    assert "AWS has no capacity for this instance type" in inside(rented, *words, "--once", code=1).err
    inside(rented, *words, "--once")
    assert [one["InstanceLifecycle"] for one in running()] == ["spot"]
    assert rented.wait(job)["state"] == "succeeded"
