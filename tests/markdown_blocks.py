"""Fenced code blocks of the project's documents."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"#\s*(?P<name>[\w/]+\.py)\s*\n")


class Block(NamedTuple):
    document: str
    line: int
    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """``x.py`` if the block begins with the comment ``# x.py``."""
        match = FILE_NAME.match(self.text)
        return match["name"] if match else None

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"


def read_document(name: str) -> str:
    path = ROOT / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def blocks(*documents: str, language: str | None = None) -> list[Block]:
    """All blocks of the documents, in order, or those of one language."""
    found = []
    for document in documents:
        text = read_document(document)
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(document, line, match["language"], match["text"]))
    return [block for block in found if language is None or block.language == language]
