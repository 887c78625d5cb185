"""The README and the docs say what is there: links, commands, Python blocks, and the page that is written from code."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import pytest

from hive import errors
from hive.cli.root import hive
from hive.errors import HiveError
from hive.gateway.openapi import document
from hive.gateway.server import ROUTES
from tests.support import TILE

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BUILT_HERE = {"write-a-task.md", "add-a-capability.md"}  # their commands exist once their files do
_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `title` is the path of the file that it shows."""

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in _FENCE.findall(page.read_text())]


@dataclass(frozen=True)
class Command:
    """A `hive …` line of a shell block: its words, and what the page shows as Hive's refusal."""

    words: list[str]
    refusal: str = ""


def commands(page: Path) -> Iterator[Command]:
    """The `hive …` lines of a page's shell blocks."""
    for block in blocks(page):
        lines = block.text.replace("\\\n", " ").splitlines()
        if block.language == "console":
            entries = [(line[2:], answer) for line, answer in pairwise([*lines, ""]) if line.startswith("$ ")]
        else:
            entries = [(line, "") for line in lines if block.language == "sh"]
        for line, answer in entries:
            refusal = answer.removeprefix("hive: ") if answer.startswith("hive: ") else ""
            yield from (Command(words[1:], refusal) for words in simple_commands(line) if words[:1] == ["hive"])


def simple_commands(line: str) -> Iterator[list[str]]:
    """The parts of a line between `|`, `&&`, `;` and redirections, without assignments in front."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("();<>|&"):
            words.append(word)
        else:
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            yield words
            words = []


def parse(words: list[str]) -> None:
    """Parse a command line as `hive` does, and stop before anything is carried out."""
    command: click.Command = hive
    context: click.Context | None = None
    name: str | None = "hive"
    try:
        while True:
            context = command.make_context(name, list(words), parent=context)
            rest = [*context._protected_args, *context.args]
            if not isinstance(command, click.Group) or not rest:
                return
            name, found, words = command.resolve_command(context, rest)
            assert found is not None
            command = found
    except click.exceptions.Exit:
        return  # --help and --version


def complaints(page: Path) -> list[str]:
    """What is wrong with the commands of a page."""
    found = []
    for command in commands(page):
        said = ""
        try:
            parse(command.words)
        except (click.ClickException, HiveError) as error:
            said = error.format_message() if isinstance(error, click.ClickException) else str(error)
        if said != command.refusal:
            found.append(f"hive {shlex.join(command.words)}: {said or 'is not refused'}")
    return found


def written_out(page: Path, folder: Path) -> Path:
    """Write the files that a page shows."""
    for block in blocks(page):
        if block.title:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
    return folder


def run_with(path: Path, *arguments: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run this Python with another folder in front of its search path, and a narrow terminal."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(path), str(path / "workers"), str(ROOT)]), "COLUMNS": "40"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_reference_is_what_the_code_says() -> None:
    found = run_with(ROOT, ROOT / "tools" / "reference.py", "--check", ROOT / "docs" / "reference.md")
    assert found.returncode == 0, found.stderr


def test_a_stale_reference_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "reference.md").write_text("# Reference\n")
    found = run_with(ROOT, ROOT / "tools" / "reference.py", "--check", tmp_path / "reference.md")
    assert found.returncode == 1
    assert found.stderr.endswith("is stale. Write it again: make docs\n")


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    links = [link.partition("#")[0] for link in _LINK.findall(_FENCE.sub("", page.read_text()))]
    relative = [link for link in links if link and "://" not in link]
    assert [link for link in relative if not (page.parent / link).exists()] == []


def test_the_readme_is_short_and_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 150
    assert {"make demo", "make test"} <= {block.text.strip() for block in blocks(ROOT / "README.md")}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in BUILT_HERE], ids=page_id)
def test_every_hive_command_of_a_page_is_one_that_hive_knows(page: Path) -> None:
    assert complaints(page) == []


@pytest.mark.parametrize(
    "line", ["hive summit gis", "hive submit gis dsm", "hive submit gis dtm a.laz --cel 1", "hive jobs --limit many"]
)
def test_a_command_that_hive_does_not_know_is_noticed(line: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```sh\n{line}\n```\n")
    assert len(complaints(page)) == 1


def test_commands_are_found_behind_prompts_pipes_and_assignments(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ A=1 hive jobs --json | head -1 && hive up  # twice\nhive: no\n```\n")
    assert list(commands(page)) == [Command(["jobs", "--json"], "no"), Command(["up"], "no")]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_python_block_compiles(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, f"{page.name}: {block.title}", "exec")


def codes(page: Path, heading: str) -> set[int]:
    """The numbers in the first column of a section's table."""
    section = page.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return {int(number) for number in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}


def test_the_conventions_list_every_exit_code() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, HiveError)]
    interrupted = 128 + signal.SIGINT
    assert codes(ROOT / "docs/conventions.md", "Output and exit codes") == {
        0,
        interrupted,
        *(c.exit_code for c in classes),
    }


def test_the_page_on_the_http_api_lists_every_call_and_every_error() -> None:
    page, paths = HOW_TO / "use-the-http-api.md", document(ROUTES)["paths"]
    calls = [(verb, path) for path, methods in paths.items() for verb in methods if verb != "parameters"]
    words = page.read_text().replace("http://127.0.0.1:8000", "")
    shown = {("post", "/task"), ("put", "/blob/{sha256}")}  # as curl's -d and -T
    missing = [
        f"{verb.upper()} {re.sub(r'{(.*?)}', lambda name: name[1].upper(), path)}" for verb, path in {*calls} - shown
    ]
    assert [call for call in missing if f"`{call}`" not in words] == []
    statuses = {int(code) for verb, path in calls for code in paths[path][verb]["responses"]}
    assert codes(page, "Errors") == {code for code in statuses if code >= 400} | {429}


@pytest.fixture
def tree_with_task(tmp_path: Path) -> Path:
    """Hive's tasks and that of the page on how to write one."""
    shutil.copytree(ROOT / "workers", tmp_path / "workers", ignore=shutil.ignore_patterns("__pycache__"))
    return written_out(HOW_TO / "write-a-task.md", tmp_path)


def test_the_commands_of_a_new_task_are_there_with_its_file(tree_with_task: Path) -> None:
    found = run_with(tree_with_task, __file__, HOW_TO / "write-a-task.md")
    assert found.returncode == 0, found.stderr


def test_a_new_task_answers_as_its_page_shows(tree_with_task: Path) -> None:
    pytest.importorskip("laspy")
    shown = blocks(HOW_TO / "write-a-task.md")
    call = next(one for one in shown if one.language == "python" and not one.title)
    answer = shown[shown.index(call) + 1]
    shutil.copy(TILE, tree_with_task / "tile.laz")
    found = run_with(tree_with_task, "-c", call.text, folder=tree_with_task)
    assert found.stdout == answer.text, found.stderr


def test_a_model_of_your_own_learns(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    shutil.copytree(ROOT / "workers", tmp_path / "workers", ignore=shutil.ignore_patterns("__pycache__"))
    written_out(HOW_TO / "train-a-model.md", tmp_path)
    rows = [f"{number / 50},{number % 7},{'low' if number < 25 else 'high'}" for number in range(50)]
    (tmp_path / "rocks.csv").write_text("\n".join(["depth,grain,rock", *rows]) + "\n")
    call = """if True:
        from pathlib import Path
        from hive_workers.training.fit import fit
        print(fit([Path("rocks.csv")], out=Path("out"), model="table").scores["accuracy"])
    """
    found = run_with(tmp_path, "-c", call, folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert float(found.stdout) > 0.8
    shown = "from hive.cli import main; main(['submit', 'training', 'fit', '--help'])"
    assert "digits|gis-lidar|table" in run_with(tmp_path, "-c", shown, folder=tmp_path).stdout


def test_the_package_of_a_new_capability_brings_its_commands(tmp_path: Path) -> None:
    page = HOW_TO / "add-a-capability.md"
    package, site = written_out(page, tmp_path / "package"), tmp_path / "site"
    offline = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")
    built = run_with(ROOT, "-m", "pip", "install", *offline, "--target", site, package)
    assert built.returncode == 0, built.stderr
    found = run_with(site, __file__, page)
    assert found.returncode == 0, found.stderr


if __name__ == "__main__":  # in a process whose search path has the files of the page
    sys.exit("\n".join(complaints(Path(sys.argv[1]))) or None)
