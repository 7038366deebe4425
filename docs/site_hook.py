"""What the site needs beyond the pages: the README as its start, and links that leave docs/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages beside docs/, and their names on the site."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+://|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie beside docs/."""
    for source, name in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=with_links(text, ROOT)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put right the links of a page of docs/."""
    return markdown if page.file.src_uri in PAGES.values() else with_links(markdown, ROOT / "docs")


def with_links(text: str, folder: Path) -> str:
    """A page whose links lead to pages of the site. Of what the site has not, the words are left.

    >>> with_links("[a](docs/run.md#x), [b](tests/README.md)", ROOT)
    '[a](run.md#x), b'
    """

    def link(match: re.Match[str]) -> str:
        bang, words, target, anchor = match.groups(default="")
        path = (folder / target).resolve()
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else target
        if name in PAGES:
            name = PAGES[name]
        elif name.startswith("docs/"):
            name = name.removeprefix("docs/")
        else:
            return words
        return f"{bang}[{words}]({name}{anchor})"

    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in parts)
