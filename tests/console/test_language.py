"""The Chinese page: every text has its Chinese, and nothing is translated that nobody says."""

import pathlib
import re

ASSETS = pathlib.Path(__file__).parents[2] / "src/http/assets"
TEXT = r"'((?:[^'\\]|\\.)*)'"


def said():
    """The texts of the pages."""
    texts = set()
    for file in [*ASSETS.glob("*.js"), *ASSETS.glob("lib/*.js"), *ASSETS.glob("pages/*.js")]:
        source = file.read_text()
        texts |= set(re.findall(rf"\btx?\(\s*{TEXT}", source))
        texts |= {many for _, many in re.findall(rf"\btn\([^']*{TEXT},\s*{TEXT}", source)}
    frame = (ASSETS / "app.js").read_text()
    texts |= set(re.findall(r"\['[a-z]+', '([A-Z][a-z]+)'\]", frame))
    texts |= set(re.findall(r"^  \['([A-Z][a-z]+)', \[", frame, re.MULTILINE))
    return texts


def translated():
    """What has a Chinese text."""
    return re.findall(rf"^  {TEXT}: ", (ASSETS / "i18n/zh.js").read_text(), re.MULTILINE)


def test_every_text_has_its_chinese():
    assert said() - set(translated()) == set()


def test_nothing_is_translated_in_vain():
    keys = translated()
    assert {key for key in keys if not re.match(r"(reason|why|outcome|event|kind|storage):", key)} - said() == set()
    assert len(keys) == len(set(keys))


def test_the_values_of_a_text_are_those_of_its_chinese():
    lines = re.findall(rf"^  {TEXT}: {TEXT},$", (ASSETS / "i18n/zh.js").read_text(), re.MULTILINE)
    assert len(lines) == len(translated())
    for english, chinese in lines:
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", chinese)), english


def test_each_reason_of_the_broker_has_its_chinese():
    source = (ASSETS.parents[1] / "stats/drop_reason.rs").read_text()
    reasons = re.findall(r'^    \w+, "(\w+)",$', source, re.MULTILINE)
    assert reasons
    assert {f"{kind}:{reason}" for reason in reasons for kind in ("reason", "why")} - set(translated()) == set()


def test_each_kind_of_setting_has_its_chinese():
    source = (ASSETS.parents[1] / "config/kind.rs").read_text()
    names = source.partition("fn name(")[2].partition("\n    }\n")[0]
    kinds = re.findall(r'Kind::\w+(?:\(_\))? => "(\w+)",', names)
    assert len(kinds) == names.count("Kind::") > 5
    assert {f"kind:{kind}" for kind in kinds} - set(translated()) == set()


def test_each_setting_has_its_chinese_with_the_same_names_in_it():
    chapters = (ASSETS.parents[2] / "docs/CONFIGURATION.md").read_text().split("\n### ")[1:]
    english = {key.replace("<name>", "*"): text.partition("\n## ")[0] for key, text in
               (re.fullmatch(r"`([^`]+)`\n\n.*?\n\n(.*)", chapter, re.DOTALL).groups() for chapter in chapters)}
    chinese = dict(re.findall(rf"^  {TEXT}: {TEXT},$", (ASSETS / "i18n/zh-settings.js").read_text(), re.MULTILINE))
    assert len(chinese) > 50
    assert set(english) == set(chinese)
    for key, text in english.items():
        names = re.findall(r"`[^`]+`", text.replace("\n", " "))
        assert set(names) == set(re.findall(r"`[^`]+`", chinese[key])), key
        assert re.search("[\u4e00-\u9fff]", chinese[key]), key
