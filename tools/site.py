"""Hook of the site: pages of the repository's root become pages of the site, and their links hold in both places."""

import posixpath
import re
from pathlib import PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# Pages of the root by their name on the site.
_ROOT_PAGES = {
    "index.md": "README.md",
    "architecture.md": "ARCHITECTURE.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
}
_ON_SITE = {source: name for name, source in _ROOT_PAGES.items()}
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#]+)(#[^)]*)?\)|!\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    root = PurePosixPath(config.docs_dir).parent
    for name, source in _ROOT_PAGES.items():
        with open(root / source, encoding="utf-8") as page:  # noqa: PTH123  MkDocs hands over paths as text
            files.append(File.generated(config, name, content=page.read()))
    for decision in files.documentation_pages():
        if decision.src_uri.startswith("decisions/0"):
            decision.inclusion = decision.inclusion.NOT_IN_NAV  # its index lists them
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:  # noqa: ANN401  MkDocs' own signature
    """Turn links as they hold in the repository into links as they hold on the site."""
    name = page.file.src_uri
    folder = "" if name in _ROOT_PAGES else posixpath.join("docs", posixpath.dirname(name))

    def on_site(match: re.Match[str]) -> str:
        picture = match.group(5)
        text, target, anchor = (match.group(4), picture, "") if picture else (match[1], match[2], match[3] or "")
        if "://" in target or target.startswith("mailto:"):
            return match.group()
        place = posixpath.normpath(posixpath.join(folder, target))
        place = _ON_SITE.get(place, place.removeprefix("docs/") if place.startswith("docs/") else "")
        if not place:
            return f"`{text}`" if "`" not in text else text  # a file of the source, which is not on the site
        link = posixpath.relpath(place, posixpath.dirname(name) or ".")
        return f"{'!' if picture else ''}[{text}]({link}{anchor})"

    return _LINK.sub(on_site, markdown)
