"""The shape of the code: what may import what, and how light the laptop's side is."""

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from types import FunctionType

import pytest

from hive.store import keys
from hive.store.scripts import load_script, script_names
from tests.support import BIN, require_program

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "torch", "lightning", "pdal", "open3d", "obspy", "rasterio", "laspy", "scipy", "matplotlib")


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "gis", "dtm", "--help"],
        ["submit", "geophysics", "detect", "--help"],
        ["submit", "training", "fit", "--help"],
        ["submit", "3d-generation", "fuse", "--help"],
        ["submit", "test", "--help"],
        ["map", "gis", "dtm", "--help"],
        ["--help"],
        ["up", "--help"],
    ],
)
def test_help_imports_no_heavy_library_and_no_broker(arguments):
    code = f"""
        import sys
        from hive.cli import main
        try:
            main({arguments!r})
        finally:
            loaded = {{name.partition(".")[0] for name in sys.modules}}
            slow = {{"celery", "kombu", "redis", "rich", "flower", "obstore", "psutil", "cryptography", "msgspec"}}
            slow |= {{*{HEAVY!r}}}
            print(sorted(loaded & slow))
    """
    ended = run(sys.executable, "-c", textwrap.dedent(code))
    assert ended.stdout.splitlines()[-1] == "[]", ended.stderr
    assert "Usage: " in ended.stdout


def test_every_task_can_be_imported_where_no_heavy_library_is():
    code = f"""
        import sys
        for name in {HEAVY!r}:
            sys.modules[name] = None
        from hive.catalog import all_tasks
        print(*(task.wire_name for task in all_tasks()))
    """
    ended = run(sys.executable, "-c", textwrap.dedent(code))
    expected = [
        "3d-generation.fuse",
        "3d-generation.mesh",
        "geophysics.detect",
        "geophysics.pick",
        "gis.dtm",
        "test.probe",
        "training.fit",
    ]
    assert set(expected) <= set(ended.stdout.split()), ended.stderr


def test_a_capability_whose_name_is_no_identifier_is_found_without_entry_points():
    """Reading those of every installed package takes 40 ms, which `hive submit … --help` need not pay."""
    code = """
        import sys
        from hive.catalog import find_task
        print(find_task("3d-generation.fuse").wire_name, "importlib.metadata" in sys.modules)
    """
    assert run(sys.executable, "-c", textwrap.dedent(code)).stdout == "3d-generation.fuse False\n"


def test_the_mac_side_loads_certificates_only_where_it_issues_some():
    code = "import sys, hive.home, hive.home.access; print('cryptography.x509' in sys.modules)"
    assert run(sys.executable, "-c", code).stdout == "False\n"


@pytest.fixture
def tree(tmp_path):
    for name in ("hive", "workers", "pyproject.toml", "celeryconfig.py"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("hive/task/declaration.py", "import hive.client", "Imports point one way"),
        ("hive/wire/job.py", "import hive.cli.jobs", "Imports point one way"),
        (
            "workers/hive_workers/gis/dtm/__init__.py",
            "import hive.settings",
            "A task's file knows only how tasks are written",
        ),
        ("workers/hive_workers/gis/engine.py", "import hive_workers.test.probe", "Capabilities do not know each other"),
        (
            "hive/gateway/context.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import hive.gateway.server",
            "No package imports its siblings in a circle",
        ),
        ("hive/client/job.py", "def heavy() -> None:\n    import numpy", "The Mac stays light"),
    ],
)
def test_a_planted_breach_of_the_layers_fails(tree, file, line, contract):
    with (tree / file).open("a") as source:
        source.write(f"\n{line}\n")
    ended = run(
        BIN / "lint-imports",
        "--no-cache",
        cwd=tree,
        env=os.environ | {"PYTHONPATH": f"{tree}{os.pathsep}{tree / 'workers'}", "COLUMNS": "200"},
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert f"{contract} BROKEN" in ended.stdout


def imports_of_modules(root):
    """Modules by name, with those that each imports anywhere in its file, under TYPE_CHECKING too."""
    files = {}
    for folder, package in ((root, "hive"), (root / "workers", "hive_workers")):
        for file in (folder / package).rglob("*.py"):
            parts = file.relative_to(folder).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    graph = {}
    for name, file in files.items():
        imported = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                members = {f"{node.module}.{alias.name}" for alias in node.names}
                imported |= members & files.keys() or {node.module}
        graph[name] = (imported & files.keys()) - {name}
    return graph


def circles(graph):
    """What is left of a graph when every module is removed that imports none of the rest, or is imported by none."""
    rest = dict(graph)
    while True:
        imported = set().union(*rest.values())
        ends = {name for name, others in rest.items() if not others & rest.keys() or name not in imported}
        if not ends:
            return {name: sorted(others & rest.keys()) for name, others in rest.items()}
        rest = {name: others & rest.keys() - ends for name, others in rest.items() if name not in ends}


def test_no_modules_import_each_other_in_a_circle_not_even_for_types():
    assert circles(imports_of_modules(ROOT)) == {}


def test_a_circle_of_three_is_seen_and_what_leads_to_it_or_from_it_is_not_blamed():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "leaf"}, "leaf": set(), "root": {"a"}}
    assert circles(graph) == {"a": ["b"], "b": ["c"], "c": ["a"]}


def test_mypy_knows_what_submit_takes_and_gives(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            from pathlib import Path
            import hive
            from hive_workers.gis.dtm import dtm

            job = hive.submit(dtm, Path("a.laz"), Path("a.tif"), cell=0.5)
            reveal_type(job.result())
            jobs = hive.map(dtm, Path("tiles").glob("*.laz"), out="out", cell=0.5)
            reveal_type(next(jobs.results()))
            reveal_type(jobs[0].result())
            hive.submit(dtm, Path("a.laz"), Path("a.tif"), cel=0.5)
            hive.submit(dtm, Path("a.laz"), Path("a.tif"), cell="wide")
        """)
    )
    ended = run(BIN / "mypy", "--strict", "--cache-dir", tmp_path / "cache", script, cwd=ROOT)
    found = [line for line in ended.stdout.splitlines() if "script.py" in line and "defined in" not in line]
    assert all('Revealed type is "hive_workers.gis.dtm.Ground"' in line for line in found[:3])
    assert 'Unexpected keyword argument "cel"' in found[3]
    assert 'Argument "cell" to "submit" has incompatible type "str"' in found[4]


SCHEMA = ROOT / "hive/store/keys.py"
A_KEY = re.compile(r"""["']hive:[a-z_]""")


def test_only_the_schema_spells_redis_keys():
    sources = [file for folder in ("hive", "workers", "tools") for file in (ROOT / folder).rglob("*")]
    spelled = {
        f"{file.relative_to(ROOT)}:{number}"
        for file in sources
        if file.suffix in (".py", ".lua") and file != SCHEMA
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if A_KEY.search(line)
    }
    assert spelled == set(), "use a name from hive/store/keys.py"


def test_each_redis_key_says_its_type_and_its_writer():
    parsed = ast.parse(SCHEMA.read_text()).body
    functions = {node.name: ast.get_docstring(node) for node in parsed if isinstance(node, ast.FunctionDef)}
    constants = {
        node.targets[0].id: after.value.value
        for node, after in pairwise(parsed)
        if isinstance(node, ast.Assign) and isinstance(after, ast.Expr)
    }
    documented = functions | constants
    assert len(documented) >= 20
    kind = re.compile(r"(Hash|Set|Sorted set|Stream|String|String with an expiry|Channel): ")
    assert [name for name, text in documented.items() if not kind.match(text or "")] == ["unacked_all"]
    writer = re.compile(r"Written |Published |kombu's lock")
    assert [name for name, text in documented.items() if not writer.search(text or "")] == ["unacked_all"]


def keys_of_the_schema():
    """All keys, with `*` or a placeholder of users.conf where a name goes."""
    placeholders = {"job_id": "*", "name": "*", "queue": "{queue}", "user": "{user}"}
    for name, value in vars(keys).items():
        if isinstance(value, str) and value.startswith("hive:"):
            yield value
        elif isinstance(value, FunctionType) and name != "unacked_all":
            yield value(*(placeholders[parameter] for parameter in inspect.signature(value).parameters))


def test_a_worker_may_touch_each_redis_key_and_no_other():
    [worker] = re.findall(r"(?m)^user \{user\} reset.*(?:\n .*)*", (ROOT / "hive/home/users.conf").read_text())
    allowed = set(re.findall(r"(?:~|&)(hive:\S+?)\)?(?=\s)", worker))
    schema = set(keys_of_the_schema())
    covered = {key for key in schema if any(is_covered(key, pattern) for pattern in allowed)}
    assert schema - covered == set(), "hive/home/users.conf does not let workers touch these"
    assert allowed - {pattern for pattern in allowed if any(is_covered(key, pattern) for key in schema)} == set()


def is_covered(key, pattern):
    return key == pattern or (pattern.endswith("*") and key.startswith(pattern[:-1]))


def test_luacheck_has_no_warning_about_the_scripts(tmp_path):
    luacheck = require_program("luacheck")
    for name in script_names():
        (tmp_path / f"{name}.lua").write_text(load_script(name))
    options = ["--no-cache", "--no-color", "--no-max-line-length", "--std", "lua51"]
    known = ["--read-globals", "redis", "cjson", "KEYS", "ARGV", "--ignore", "211"]  # 211: included and not used
    ended = run(luacheck, *options, *known, "--", tmp_path)
    assert ended.returncode == 0, ended.stdout
    assert f"0 warnings / 0 errors in {len(script_names())} files" in ended.stdout


def test_scripts_hold_no_sentences_for_people():
    scripts = {file.name: re.sub(r"(?m)--.*$", "", file.read_text()) for file in SCHEMA.parent.glob("lua/*.lua")}
    assert len(scripts) > 20
    texts = [(name, text) for name, script in scripts.items() for text in re.findall(r"'([^'\n]*)'", script)]
    assert [(name, text) for name, text in texts if re.search(r"[a-z]+ [a-z]+ [a-z]+", text)] == []


# What still is a dictionary of anything, with the module that owns it; each entry is to go, and none is to come.
DICTIONARIES = {
    "hive.client.explain.job_document",
    "hive.client.explain.job_document_with_story",
    "hive.client.gateway.ask",
    "hive.home.overview.overview",
    "hive.home.tunnels.with_tunnels",
    "hive.store.connection.encryption",  # keyword arguments of redis-py
    "hive.store.registry.Registry.queues",
    "hive.store.registry.Registry.workers",
    "hive.versions.terms",
}


def test_no_dictionary_of_anything_crosses_the_border_of_a_package():
    """Values that belong together are a dataclass or a struct; `to_json` makes the document that is shown."""
    trees = {module_of(file): ast.parse(file.read_text()) for file in (ROOT / "hive").rglob("*.py")}
    imported = {
        (package_of(node.module), alias.name)
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hive.")
        if package_of(node.module) != package_of(module)
        for alias in node.names
    }
    crossing = {
        f"{module}.{name}"
        for module, tree in trees.items()
        for node in tree.body
        if (package_of(module), getattr(node, "name", "")) in imported
        for name, function in public_functions(node)
        if "dict[str, Any]" in signature_of(function)
    }
    assert crossing == DICTIONARIES


def module_of(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def package_of(module):
    return ".".join(module.split(".")[:2])


def public_functions(node):
    if isinstance(node, ast.FunctionDef):
        yield node.name, node
    for inner in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_") and inner.name != "to_json":
            yield f"{node.name}.{inner.name}", inner


def signature_of(function):
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    hints = [argument.annotation for argument in arguments] + [function.returns]
    return "; ".join(ast.unparse(hint) for hint in hints if hint is not None)
