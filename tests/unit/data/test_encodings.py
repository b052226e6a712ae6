"""Every codec of Python: what is an encoding of text files is read, any other name is one line."""

import codecs
import encodings
import json
import pkgutil

import pytest
from reading import error_of, load

from hierbert import ConfigError

CODECS = sorted(module.name for module in pkgutil.iter_modules(encodings.__path__))
# By Python's documentation: text to text, bytes to bytes, names of hosts, source code, Windows.
NO_FILES = {
    *("aliases", "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec"),
    *("zlib_codec", "idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined"),
    *("mbcs", "oem"),
}
OTHER_NAMES = (
    *("rot13", "hex", "base64", "zip", "bz2", "Unicode-Escape", "unicodeescape"),
    "RAW UNICODE ESCAPE",
    *("", " ", "klingon", "utf-8\0", "\ud800", "../utf_8", "x" * 10_000, "os", "utf_8.x"),
)  # fmt: skip


@pytest.mark.parametrize("name", [*CODECS, *OTHER_NAMES])
def test_a_codec_reads_files_or_is_refused(tmp_path, name) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(b"")
    if name in NO_FILES or name in OTHER_NAMES:
        message = error_of(path, ConfigError, encoding=name)
        assert "data.encoding" in message and "such as utf-8, latin-1, cp1252" in message
        return
    texts = ["First line.", 'A "quoted" one; 2 + 2 = 4, a~b.']
    rows = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts)]
    path.write_bytes("".join(row + "\n" for row in rows).encode(name))
    assert [(row.id, row.text) for row in load(path, encoding=name)] == [
        (str(n), text) for n, text in enumerate(texts)
    ]
    assert codecs.lookup(name)
