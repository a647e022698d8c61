"""What a browser has to fetch: small, from here alone, and without anything inline."""

import gzip
import pathlib
import re

ASSETS = pathlib.Path(__file__).parents[2] / "src/http/assets"
FILES = [file for file in sorted(ASSETS.rglob("*")) if file.is_file()]
# Bytes of all files, each packed by itself, as they are served.
MOST = 96 * 1024


def test_all_of_it_is_small():
    packed = {str(file.relative_to(ASSETS)): len(gzip.compress(file.read_bytes(), 9)) for file in FILES}
    chinese = packed["i18n/zh.js"] + packed["i18n/zh-settings.js"]
    print(f"\n{len(FILES)} files, {sum(file.stat().st_size for file in FILES)} bytes; packed {sum(packed.values())}, of which {chinese} for Chinese alone")
    assert sum(packed.values()) < MOST


def test_nothing_comes_from_elsewhere():
    for file in FILES:
        addresses = re.findall(r"""(?:https?:)?//[\w.-]+\.\w+""", re.sub(r"^\s*//.*$", "", file.read_text(), flags=re.MULTILINE))
        assert [one for one in addresses if "w3.org" not in one and "example.org" not in one] == [], file


def test_nothing_is_inline_and_nothing_is_parsed_as_markup():
    page = (ASSETS / "index.html").read_text()
    assert not re.search(r"<style|\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)", page)
    for file in FILES:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", file.read_text()), file
