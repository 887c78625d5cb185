"""Tab completion as users have it: in bash, zsh and fish, with files, jobs and names."""

import os
import re
import subprocess
import time

import pexpect
import pytest

from tests.support import free_port, require_program, wait_until

pytestmark = pytest.mark.wire
SHELLS = ("bash", "zsh", "fish")
# How a shell that is typed into is started and set up, without the user's own files.
TYPED = {
    "bash": (["--norc", "--noprofile", "-i"], "bind 'set enable-bracketed-paste off'"),
    "zsh": (["-f", "-i"], "unsetopt zle_bracketed_paste; autoload -U compinit; compinit -D -u"),
}


def completed(shell, line, hive, folder):
    """What the shell shows when Tab is pressed at the end of a line."""
    program, environment = require_program(shell), hive.environment | {"TERM": "dumb", "HOME": str(folder)}
    if shell == "fish":  # it tells itself what Tab would show
        script = f'hive completion fish | source; complete -C "{line}"'
        command = [program, "--no-config", "-c", script]
        ended = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60)
        assert ended.stderr == ""
        return ended.stdout
    options, setup = TYPED[shell]
    typed = pexpect.spawn(program, options, env=environment, cwd=folder, encoding="utf-8", timeout=60)
    typed.setwinsize(100, 300)
    typed.sendline(f'{setup}; eval "$(hive completion {shell})"; echo REA""DY')
    typed.expect("READY\r")
    typed.send(f"{line}\t\t")
    typed.send('\x15echo DO""NE\r')  # the line is thrown away, once both tabs are answered
    typed.expect("DONE\r")
    shown = typed.before
    typed.close(force=True)
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]|\x07", "", shown)


@pytest.fixture
def folder(tmp_path):
    for name in ("tile_east.laz", "tile_west.laz"):
        (tmp_path / name).touch()
    (tmp_path / "models").mkdir()
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_files_of_a_task_are_completed(shell, hive, folder):
    shown = completed(shell, "hive submit gis dtm ", hive, folder)
    assert all(name in shown for name in ("tile_east.laz", "tile_west.laz", "models"))


@pytest.mark.parametrize("shell", SHELLS)
def test_files_of_a_default_task_are_completed_without_its_name(shell, hive, folder):
    assert "tile_west.laz" in completed(shell, "hive submit test tile_w", hive, folder)


@pytest.mark.parametrize("shell", SHELLS)
def test_only_folders_are_completed_where_a_folder_is_needed(shell, hive, folder):
    shown = completed(shell, "hive map gis dtm tile_east.laz --out ", hive, folder)
    assert "models" in shown
    assert "tile_west" not in shown


@pytest.mark.parametrize(
    ("shells", "line", "names"),
    [
        (SHELLS, "hive f", ["fetch", "fleet"]),
        (SHELLS, "hive submit gis dtm --priority ", ["low", "normal", "high"]),
        (["fish"], "hive submit gis dtm --queue g", ["geophysics", "gis"]),
        (["fish"], "hive fleet up aws --type g4dn.", ["g4dn.xlarge", "g4dn.12xlarge"]),
        (["fish"], "hive describe g", ["gis.dtm", "geophysics.pick"]),
        (["fish"], "hive completion ", ["bash", "zsh", "fish"]),
    ],
    ids=["commands", "priorities", "queues", "machine types", "tasks", "shells"],
)
def test_names_are_completed(shells, line, names, hive, folder):
    for shell in shells:
        shows(shell, line, names, hive, folder)


def shows(shell, line, names, hive, folder):
    """It shows these; completion gives up after seconds, so a loaded machine may need another Tab."""

    def shown():
        text = completed(shell, line, hive, folder)
        return text if all(name in text for name in names) else ""

    return wait_until(shown, f"{shell} shows {names}", 60)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    from tests.support import Hive

    hive = Hive(tmp_path_factory.mktemp("history"))
    with hive.up():
        waiting, ended = hive.submit("test"), hive.submit("test")
        hive.run("cancel", ended)
        hive.run("access", "add", "studio", "--capabilities", "gis")
        yield hive, waiting, ended


@pytest.mark.parametrize("shell", SHELLS)
def test_jobs_are_completed_by_what_can_be_done_to_them(shell, history, folder):
    hive, waiting, ended = history
    shown = shows(shell, "hive show ", [waiting[:8], ended[:8]], hive, folder)
    assert ("cancelled test.probe" in shown) == (shell != "bash")  # which has no place for a description
    assert ended[:8] not in shows(shell, "hive cancel ", [waiting[:8]], hive, folder)


def test_identities_are_completed(history, folder):
    shows("fish", "hive access remove ", ["studio"], history[0], folder)


def asked(hive, line, **more):
    """What a completion script gets to hear."""
    environment = hive.environment | {"_HIVE_COMPLETE": "fish_complete", "COMP_WORDS": line, "COMP_CWORD": ""} | more
    return subprocess.run(hive.command(), env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("line", ["hive show ", "hive submit nonsense ", "hive cancel --nonsense "])
def test_where_nothing_is_known_completion_says_nothing_and_starts_nothing(hive, line):
    ended = asked(hive, line)
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "", "")
    assert not hive.home.exists()


def test_a_config_that_is_broken_makes_completion_silent(hive):
    hive.home.mkdir()
    (hive.home / "config.toml").write_text("]")
    assert asked(hive, "hive show ").stdout.strip() == ""
    assert asked(hive, "hive show ").stderr == ""


def test_a_broker_that_never_answers_is_given_up(hive):
    address = "redis://192.0.2.1:6379/0"  # RFC 5737: belongs to nobody
    begin = time.monotonic()
    assert asked(hive, "hive show ", HIVE_BROKER_URL=address).stdout.strip() == ""
    silent = subprocess.run(hive.command("--version"), env=hive.environment, capture_output=True, check=True)
    assert silent.returncode == 0
    assert time.monotonic() - begin < 30, os.getloadavg()
    assert asked(hive, "hive show ", HIVE_BROKER_URL=f"redis://127.0.0.1:{free_port()}/0").stderr == ""
