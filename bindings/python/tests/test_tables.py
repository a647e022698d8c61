"""The tables of docs/python.md, compared with the classes that they describe."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from typing import Any

import pytest
from conftest import TOP

import midge
import midge.aio

PAGE = (TOP / "docs" / "python.md").read_text(encoding="utf-8")
DESCRIBED = [
    midge.Message,
    midge.Properties,
    midge.Client,
    midge.TlsIdentity,
    midge.ClientCertificate,
    midge.SubscriptionInfo,
    midge.StorageStats,
    midge.ConnectRequest,
    midge.AccessRequest,
    midge.PublishRequest,
    midge.Connected,
    midge.Disconnected,
    midge.Delivered,
    midge.Dropped,
]
FIELDS = r"^`midge\.(\w+)`:\n\n\| field \| type \| what \|\n\|---\|---\|---\|\n((?:\|.*\|\n)+)"
AWAITED = r"^\| `midge\.aio\.(\w+)` \| (.*) \| (.*) \|$"


def fields(owner: type[Any]) -> list[tuple[str, str, str]]:
    """The public fields of a class: names, types, and what is written below each."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = []
    for step, below in zip(tree.body, [*tree.body[1:], None]):
        if isinstance(step, ast.AnnAssign) and isinstance(step.target, ast.Name):
            assert isinstance(below, ast.Expr), f"{owner.__name__}.{step.target.id} is not described"
            assert isinstance(below.value, ast.Constant)
            found.append((step.target.id, ast.unparse(step.annotation), below.value.value))
        elif isinstance(step, ast.FunctionDef) and "property" in [ast.unparse(each) for each in step.decorator_list]:
            assert step.returns is not None
            found.append((step.name, ast.unparse(step.returns), ast.get_docstring(step) or ""))
    return [
        (f"`{name}`", f"`{kind.replace(' | ', ' or ')}`", " ".join(text.split()))
        for name, kind, text in found
        if not name.startswith("_")
    ]


def rows(table: str) -> list[tuple[str, ...]]:
    """The cells of a table."""
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table.splitlines()]


@pytest.mark.parametrize("owner", DESCRIBED)
def test_the_fields_of_a_class_are_those_of_the_page(owner: type[Any]) -> None:
    tables = dict(re.findall(FIELDS, PAGE, flags=re.M))
    expected = fields(owner)
    shown = "\n".join(f"| {' | '.join(row)} |" for row in expected)
    assert owner.__name__ in tables, f"docs/python.md has no table of midge.{owner.__name__}:\n{shown}"
    assert rows(tables[owner.__name__]) == expected, f"the table should be\n{shown}"


def test_the_page_describes_no_other_class() -> None:
    assert [name for name, _ in re.findall(FIELDS, PAGE, flags=re.M)] == [owner.__name__ for owner in DESCRIBED]


def test_the_fields_are_those_that_objects_have() -> None:
    """What is read from the source is what there is."""
    for owner in DESCRIBED:
        if dataclasses.is_dataclass(owner):
            there = [field.name for field in dataclasses.fields(owner) if not field.name.startswith("_")]
        elif issubclass(owner, tuple):
            there = list(owner._fields)  # type: ignore[attr-defined]
        else:
            there = [name for name, value in vars(owner).items() if isinstance(value, property)]
        assert [f"`{name}`" for name in there] == [name for name, _, _ in fields(owner)]


def test_what_is_awaited_is_what_the_page_says() -> None:
    tables = {name: (awaited, others) for name, awaited, others in re.findall(AWAITED, PAGE, flags=re.M)}
    for owner in (midge.aio.Broker, midge.aio.Subscription, midge.aio.Handler):
        public = {name: value for name, value in vars(owner).items() if not name.startswith("_")}
        awaited = [name for name, value in public.items() if inspect.iscoroutinefunction(value)]
        others = [
            name
            for name, value in public.items()
            if name not in awaited and (inspect.isfunction(value) or isinstance(value, classmethod))
        ]
        expected = (", ".join(f"`{name}`" for name in awaited), ", ".join(f"`{name}`" for name in others))
        assert tables.pop(owner.__name__, None) == expected, owner
    assert not tables


def test_the_properties_of_publish_are_those_of_a_message() -> None:
    properties = set(midge.PublishProperties.__annotations__)
    assert properties == set(midge.Properties._fields) - {"subscription_identifiers"}
