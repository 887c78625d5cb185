"""The list of words that code and docs do without."""

import pytest

from tools import words


@pytest.fixture
def check(tmp_path, capsys):
    def run(text, name="module.py"):
        (tmp_path / name).write_text(text)
        code = words.main([str(tmp_path / name)])
        return code, [line.partition(f"{name}:")[2] for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.mark.parametrize(
    "text",
    [
        "for one in (1, 2):\n    print(one)\n",
        "def total(_asked: int) -> int:\n    return _asked\n",
        "class Job:\n    told = 3\n",
        "import json as found\n",
        '"""A job mends\n\nitself.\n"""\n',
        "# It restarts by itself.\n",
        "name = 'x'\nraise ValueError(f'{name} is a mistake')\n",
    ],
)
def test_a_word_of_the_list_is_refused(check, text):
    code, lines = check(text)
    assert code == 1
    assert len(lines) == 1


@pytest.mark.parametrize("text", ["one_job = 1\n", "record.founded = 2\n", "print(done)\n", "'recommend'\n"])
def test_words_that_only_look_like_it_pass(check, text):
    assert check(text) == (0, [])


def test_a_line_is_named_with_what_to_say_instead(check):
    _, lines = check("\n\nIt waits since noon.\n", name="page.md")
    assert lines == ["3: 'waits since': say has been waiting since"]
