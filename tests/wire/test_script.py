"""Scripts of the user's own, sent to a real worker whose owner allows them, and to one whose owner does not."""

import json
import signal
import subprocess
import textwrap
from pathlib import Path

import psutil
import pytest

from tests.support import Hive, missing, require_program, wait_until

pytestmark = pytest.mark.wire
SECRETS = {"AWS_SECRET_ACCESS_KEY": "hush-aws", "HIVE_TOKEN": "hush-token", "DATABASE_PASSWORD": "hush-own"}
SIX = '# /// script\n# dependencies = ["six"]\n# ///\n'


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A Hive with one worker that runs scripts, and has secrets."""
    require_program("uv")
    hive = Hive(tmp_path_factory.mktemp("scripts"))
    with hive.up(), hive.worker("gis,run", HIVE_ALLOW_SCRIPTS="1", **SECRETS):
        yield hive


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A package index that uv can reach, as this machine's settings of uv say."""
    folder = tmp_path_factory.mktemp("index")
    (folder / "needs.in").write_text("six\n")
    command = [require_program("uv"), "pip", "compile", "--quiet", "--cache-dir", str(folder / "uv"), "needs.in"]
    asked = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        missing(f"a package index with six ({asked.stderr.strip()[-200:]})")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(file: str, code: str, head: str = "") -> str:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(head + textwrap.dedent(code))
    return file


def send(hive: Hive, *words: str) -> str:
    """Send a script without waiting; returns the job's id."""
    return hive.run("submit", "run", "script", "--detach", *words).stdout.strip()


def environments(hive: Hive) -> dict[str, int]:
    """Each environment that the workers of a Hive have made, and when."""
    made = hive.settings.cache / "tasks" / "environments" / "made"
    return {one.name: (one / "venv" / "pyvenv.cfg").stat().st_mtime_ns for one in made.iterdir()}


def test_a_worker_whose_owner_has_not_allowed_scripts_runs_none(farm, folder):
    mark = folder / "mark"
    write("a.py", f"open({str(mark)!r}, 'w')")
    job = farm.json("submit", "run", "script", "a.py", "--queue", "gis", code=1)
    assert (job["state"], job["attempts"], job["error"]["kind"]) == ("failed", 1, "not-allowed")
    assert job["error"]["message"] == (
        "w1@test runs no scripts of users: its owner has not allowed it. They allow it with HIVE_ALLOW_SCRIPTS=1 in "
        "the environment that the worker is started in."
    )
    assert not mark.exists()


def test_files_and_words_arrive_and_what_is_written_comes_back(scripts, folder):
    words = ["--x", "1", "a b", "$(touch no)", "`x`", "'", '"', "*", "--", "-o", "é"]
    for name in ("one/tile.txt", "two/tile.txt"):
        write(name, name)
    write(
        "a.py",
        """
        import json, os, pathlib, sys

        texts = [pathlib.Path(word).read_text() for word in sys.argv[1:3]]
        found = {"texts": texts, "words": sys.argv[3:], "inputs": sorted(os.listdir(os.environ["HIVE_INPUTS"]))}
        pathlib.Path("found.json").write_text(json.dumps(found))
        place = pathlib.Path(os.environ["HIVE_OUTPUTS"], "deep", "er")
        place.mkdir(parents=True)
        (place / "job.txt").write_text(os.environ["HIVE_JOB"])
        """,
    )
    line = ["run", "script", "a.py", "one/tile.txt", "two/tile.txt", "-o", "out", "--json", "--", *words]
    job = json.loads(scripts.run("submit", *line).stdout)
    assert (job["state"], job["queue"], job["parameters"]["args"]) == ("succeeded", "run", words)
    assert json.loads(Path("out/found.json").read_text()) == {
        "texts": ["one/tile.txt", "two/tile.txt"],
        "words": words,
        "inputs": ["2", "tile.txt"],
    }
    assert Path("out/deep/er/job.txt").read_text() == job["id"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.py", "one", "out", "two"]


def test_a_script_is_the_default_task_and_its_folder_gets_a_name(scripts, folder):
    write("fit.py", "open('x.txt', 'w').write('1')")
    scripts.run("submit", "run", "fit.py", "--queue", "gis")
    assert Path("fit_script/x.txt").read_text() == "1"


def test_words_are_a_list_in_json_and_in_python(scripts, folder):
    write("a.py", "import sys, json; json.dump({'words': ' '.join(sys.argv[1:])}, open('measures.json', 'w'))")
    given = {"script": "a.py", "out": "out", "args": ["--x", "1"]}
    job = scripts.json("submit", "--type", "run.script", "--params", json.dumps(given))
    assert job["measures"] == {"words": "--x 1"}
    refused = scripts.run("submit", "--type", "run", "--params", json.dumps(given | {"args": ["--x", 1]}), code=2)
    assert refused.stderr == "hive: args must be text, not 1.\n"
    code = """
        from pathlib import Path
        import hive
        from hive_workers.run.script import script

        print(hive.submit(script, Path("a.py"), out=Path("out"), args=["--y"]).result())
    """
    ended = scripts.python(code, folder)
    assert ended.stdout == "{'words': '--y'}\n", ended.stderr


@pytest.mark.usefixtures("index")
def test_what_a_script_says_it_needs_is_there_and_is_made_once(scripts, folder):
    code = "import json, six; json.dump({'six': six.__version__}, open('measures.json', 'w'))"
    before = environments(scripts) if (scripts.settings.cache / "tasks").exists() else {}
    first = scripts.json("submit", "run", "script", write("a.py", code, SIX))
    after = environments(scripts)
    second = scripts.json("submit", "run", "script", write("b.py", f"{code}\n# other code, equal needs", SIX))
    assert first["measures"] == second["measures"] == {"six": first["measures"]["six"]}
    assert len(after) == len(before) + 1
    assert environments(scripts) == after
    bare = scripts.json("submit", "run", "script", write("c.py", code), code=1)
    assert bare["error"]["message"].endswith("Its last words: ModuleNotFoundError: No module named 'six'")


@pytest.mark.usefixtures("index")
def test_a_project_brings_its_lock_its_modules_and_the_files_beside_the_script(scripts, folder):
    write("project/pyproject.toml", "[project]\nname = 'rocks'\nversion = '1'\ndependencies = ['six==1.16.0']\n")
    write("project/src/rocks/__init__.py", "HARD = 7\n")
    write("project/steps/config.txt", "granite")
    write("project/helper.py", "SOFT = 1\n")
    write(
        "project/steps/a.py",
        """
        import json, os, pathlib, helper, rocks, six

        config = pathlib.Path(__file__).with_name("config.txt").read_text()
        there = " ".join(sorted(os.listdir(os.environ["HIVE_PROJECT"])))
        found = {"six": six.__version__, "rocks": rocks.HARD, "helper": helper.SOFT, "config": config, "there": there}
        json.dump(found, open("measures.json", "w"))
        """,
    )
    subprocess.run([require_program("uv"), "lock", "--quiet"], cwd="project", check=True)
    job = scripts.json("submit", "run", "script", "project/steps/a.py", "--project", "project", "-o", "out")
    there = "__pycache__ helper.py pyproject.toml src steps uv.lock"
    assert job["measures"] == {"six": "1.16.0", "rocks": 7, "helper": 1, "config": "granite", "there": there}


@pytest.mark.usefixtures("index")
def test_a_list_of_requirements_is_installed(scripts, folder):
    write("project/requirements.txt", "-r more/list.txt\n")
    write("project/more/list.txt", "six==1.15.0\n")
    write("project/a.py", "import json, six; json.dump({'six': six.__version__}, open('measures.json', 'w'))")
    job = scripts.json("submit", "run", "script", "project/a.py", "--project", "project", "-o", "out")
    assert job["measures"] == {"six": "1.15.0"}


@pytest.mark.usefixtures("index")
def test_an_environment_that_cannot_be_made_fails_the_job_with_uvs_words(scripts, folder):
    write("a.py", "", SIX.replace("six", "six==0.0.999"))
    job = scripts.json("submit", "run", "script", "a.py", code=1)
    assert (job["attempts"], job["error"]["kind"]) == (1, "engine")
    assert "uv could not make the environment: " in job["error"]["message"]
    assert "six==0.0.999" in job["error"]["message"]


def test_a_block_that_cannot_be_read_is_refused_and_nothing_is_sent(scripts, folder):
    write("a.py", "", "# /// script\n# dependencies = [\n# ///\n")
    jobs = scripts.redis.zcard("hive:jobs")
    refused = scripts.run("submit", "run", "script", "a.py", code=2)
    assert refused.stderr.startswith("hive: a.py: its block `# /// script` is no TOML: ")
    assert scripts.redis.zcard("hive:jobs") == jobs


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise ValueError('too steep')", "a.py ended with exit code 1. Its last words: ValueError: too steep"),
        ("import os; os.kill(os.getpid(), 11)", "a.py was ended by SIGSEGV. It wrote nothing to standard error."),
    ],
)
def test_a_script_that_fails_is_not_tried_again_and_says_why(scripts, folder, code, says):
    job = scripts.json("submit", "run", "script", write("a.py", code), code=1)
    assert (job["attempts"], job["error"]) == (1, {"kind": "script", "message": says})
    assert "The message is the last that your script printed." in scripts.run("why", job["id"]).stdout


def test_a_script_sees_no_secret_of_the_worker(scripts, folder):
    write("a.py", "import json, os; json.dump(dict(os.environ), open('seen.json', 'w'))")
    scripts.run("submit", "run", "script", "a.py", "-o", "out")
    seen = json.loads(Path("out/seen.json").read_text())
    assert not [name for name, value in seen.items() if "hush" in value or "redis" in value]
    assert {name for name in seen if name.startswith("HIVE_")} == {
        "HIVE_INPUTS",
        "HIVE_OUTPUTS",
        "HIVE_CHECKPOINT",
        "HIVE_JOB",
        "HIVE_ATTEMPT",
    }


def test_progress_and_measures_become_those_of_the_job(scripts, folder):
    code = "print('::progress 2 5 tiles reading b.laz'); print('::progress no number'); print('::progress 3 - tiles')"
    job = scripts.json("submit", "run", "script", write("a.py", code))
    assert job["progress"] == {"done": 3.0, "total": None, "unit": "tiles", "message": ""}
    assert job["measures"] == {}


TREE = """
    import os, pathlib, subprocess, sys, time

    own = subprocess.Popen(["sleep", "600"])
    apart = subprocess.Popen(["sleep", "600"], start_new_session=True)
    file = pathlib.Path(sys.argv[1])
    file.with_suffix(".part").write_text(f"{os.getpid()} {own.pid} {apart.pid}")
    file.with_suffix(".part").rename(file)
    time.sleep(600)
"""


def family(file: Path) -> list[psutil.Process]:
    """The processes that a script has named in a file."""
    wait_until(file.exists, "the script runs")
    return [psutil.Process(int(pid)) for pid in file.read_text().split()]


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_cancel_ends_a_script_and_all_that_it_has_started(scripts, folder):
    job = send(scripts, write("a.py", TREE), "-o", "out", "--", str(folder / "pids"))
    processes = family(folder / "pids")
    scripts.run("cancel", job)
    wait_until(lambda: all(map(is_gone, processes)), "all of them are gone")
    assert scripts.wait(job)["state"] == "cancelled"
    scratch = scripts.settings.cache / "scratch"
    wait_until(lambda: not list(scratch.glob(f"{job}*")), "its scratch folder is gone")


def test_a_script_ends_with_the_process_that_runs_it_and_the_job_starts_again(scripts, folder):
    code = """
        import os, pathlib, subprocess, sys, time

        if os.environ["HIVE_ATTEMPT"] == "1":
            child = subprocess.Popen(["sleep", "600"], start_new_session=True)
            pathlib.Path(sys.argv[1] + ".part").write_text(f"{os.getppid()} {os.getpid()} {child.pid}")
            os.rename(sys.argv[1] + ".part", sys.argv[1])
            time.sleep(600)
    """
    job = send(scripts, write("a.py", code), "-o", "out", "--", str(folder / "pids"))
    pool_child, *processes = family(folder / "pids")
    pool_child.send_signal(signal.SIGKILL)
    wait_until(lambda: all(map(is_gone, processes)), "the script and its child are gone")
    assert scripts.wait(job, code=0)["attempts"] == 2


def test_a_script_that_is_told_to_stop_saves_its_state_and_goes_on_elsewhere(hive_up, folder):
    require_program("uv")
    code = """
        import json, os, pathlib, signal, sys, time

        state = pathlib.Path(os.environ["HIVE_CHECKPOINT"], "state.txt")
        if state.exists():
            json.dump({"state": state.read_text(), "attempt": os.environ["HIVE_ATTEMPT"]}, open("measures.json", "w"))
            sys.exit()

        def save(*_):
            state.write_text("saved")
            sys.exit()

        signal.signal(signal.SIGTERM, save)
        pathlib.Path(sys.argv[1]).touch()
        time.sleep(600)
    """
    with hive_up.worker("run", name="w1", HIVE_ALLOW_SCRIPTS="1") as worker:
        job = send(hive_up, write("a.py", code), "-o", "out", "--", str(folder / "mark"))
        wait_until((folder / "mark").exists, "the script runs")
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: is_gone(worker), "the worker is gone")
    with hive_up.worker("run", name="w2", HIVE_ALLOW_SCRIPTS="1"):
        done = hive_up.wait(job, code=0)
    assert done["measures"] == {"state": "saved", "attempt": "2"}
    assert [event["event"] for event in hive_up.json("show", job)["story"]].count("lost") == 0
