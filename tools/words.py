"""Find words of Hive's old dialect: `words.py FILE|FOLDER…`. Which words, and what to say instead, is in words.toml."""

import argparse
import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PYTHON = ".py"
_PROSE = (".md", ".sh", ".html", ".js", ".toml")


@dataclass(frozen=True)
class Finding:
    """One word in one line."""

    path: Path
    line: int
    word: str
    instead: str


class WordList:
    """The names and the prose that are out."""

    def __init__(self, file: Path) -> None:
        lists = tomllib.loads(file.read_text())
        self._names: dict[str, str] = lists["names"]
        self._prose = [(re.compile(rf"\b(?:{word})\b", re.I), instead) for word, instead in lists["prose"].items()]

    def read(self, path: Path) -> Iterator[Finding]:
        """Every word of one file that is on the list."""
        source = path.read_text()
        if path.suffix == _PYTHON:
            yield from self._names_in(path, source)
            texts = _texts_of(source)
        else:
            texts = enumerate(source.splitlines(), 1)
        for line, text in texts:
            yield from self._prose_in(path, line, text)

    def _names_in(self, path: Path, source: str) -> Iterator[Finding]:
        for node in ast.walk(ast.parse(source)):
            for name in _names_bound_by(node):
                if instead := self._names.get(name.strip("_")):
                    yield Finding(path, getattr(node, "lineno", 1), name, instead)

    def _prose_in(self, path: Path, line: int, text: str) -> Iterator[Finding]:
        for pattern, instead in self._prose:
            for match in pattern.finditer(text):
                yield Finding(path, line + text.count("\n", 0, match.start()), match[0], instead)


def _names_bound_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            yield name
        case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            yield name
        case ast.alias(asname=str(name)):
            yield name


def _texts_of(source: str) -> Iterator[tuple[int, str]]:
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            yield token.start[0], token.string


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        candidates = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in candidates if file.suffix in (_PYTHON, *_PROSE))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every word of the list that the files have."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path)
    words = WordList(Path(__file__).with_name("words.toml"))
    findings = [finding for file in _files(parser.parse_args(arguments).paths) for finding in words.read(file)]
    for finding in findings:
        print(f"{finding.path.as_posix()}:{finding.line}: {finding.word!r}: say {finding.instead}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
