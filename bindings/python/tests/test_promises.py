"""Every sentence of docs/python.md stands in tests/promises/python.txt with the tests that fail if it is broken."""

from __future__ import annotations

import re
from pathlib import Path

from conftest import TOP

PAGE = TOP / "docs" / "python.md"
LIST = TOP / "tests" / "promises" / "python.txt"
HERE = Path(__file__).parent


def sentences(page: str) -> list[str]:
    """The sentences of a page, without its programs, tables and headings."""
    text = re.sub(r"^```.*?^```$", "\n", page, flags=re.S | re.M)
    text = re.sub(r"^(?:#|\||`midge\.\w+`:$).*$", "\n", text, flags=re.M)
    text = re.sub(r"^- ", "\n\n", text, flags=re.M)
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        flat = " ".join(paragraph.split())
        found += [part for part in re.split(r"(?<=\.) (?=[A-Z`\[])", flat) if part]
    return found


def promises() -> list[tuple[str, list[str]]]:
    """The lines of the list: sentences, and the tests of each."""
    found = []
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            sentence, _, tests = line.rpartition(" | ")
            found.append((sentence, tests.split()))
    return found


def test_every_sentence_of_the_page_is_in_the_list_and_the_other_way_round() -> None:
    written, listed = sentences(PAGE.read_text(encoding="utf-8")), [sentence for sentence, _ in promises()]
    assert [sentence for sentence in written if sentence not in listed] == [], "these have no test"
    assert [sentence for sentence in listed if sentence not in written] == [], "these are not in the page any more"
    assert len(set(listed)) == len(listed) > 50


def test_every_test_of_the_list_exists() -> None:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py")}
    for sentence, tests in promises():
        assert tests, sentence
        for name in tests:
            if name != "-":
                module, _, test = name.partition("::")
                assert re.search(rf"^(?:async )?def {test}\(", texts.get(module, ""), flags=re.M), f"{sentence}: {name}"


def test_sentences_without_a_test_are_no_promises() -> None:
    """They point to something, or lead to what follows: the list says so with a hyphen."""
    without = [sentence for sentence, tests in promises() if tests == ["-"]]
    assert len(without) < len(promises()) // 4
