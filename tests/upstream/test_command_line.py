"""What Hive needs of click and redis-py beyond their documentation."""

import ast
import inspect
from pathlib import Path

import click
import redis
from redis.commands.core import Script

import hive.cli


def from_click(tree):
    """The names that a module imports from click."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.name for node in imports if (node.module or "").startswith("click") for name in node.names}


def test_every_command_would_crash_with_click_8_3_if_a_class_of_click_were_subscripted():
    """`ParamType` and `CompletionItem` are generic since 8.4 only; between quotes only type checkers read it."""
    subscripted = []
    for path in Path(hive.cli.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and (
                ast.unparse(node.value).startswith("click.") or ast.unparse(node.value) in from_click(tree)
            ):
                subscripted.append(f"{path.name}:{node.lineno}")
    assert subscripted == []


def test_the_default_task_could_not_be_left_out_if_groups_no_longer_called_parse_args():
    assert list(inspect.signature(click.Group.parse_args).parameters) == ["self", "ctx", "args"]
    assert ".parse_args(ctx, args)" in inspect.getsource(click.Command.make_context)


def test_an_unknown_command_would_have_no_suggestion_if_resolve_command_changed():
    assert list(inspect.signature(click.Group.resolve_command).parameters) == ["self", "ctx", "args"]


def test_scripts_would_run_on_the_wrong_connection_if_redis_py_no_longer_took_a_client():
    assert list(inspect.signature(Script.__call__).parameters) == ["self", "keys", "args", "client"]


def test_a_cancelled_job_would_run_on_if_subscriptions_were_reported_as_messages():
    assert "ignore_subscribe_messages" in inspect.signature(redis.client.PubSub.__init__).parameters
