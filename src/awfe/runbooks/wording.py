"""What parsers of YAML and TOML say of a text, in words that tell what would be right."""

import re
from typing import Final

_YAML: Final = (
    (r"mapping values are not allowed", "a ': ' too many: mend the indentation, or put the text that has it in quotes"),
    (r"sequence entries are not allowed", "a list begins here in the line of its key: put '- ' on the next line"),
    (r"expected <block end>", "this goes on with nothing: mend its indentation, or put the whole text in quotes"),
    (r"found character '\\t'", "a tab can't stand here: indent with spaces"),
    (r"found character (.+) that cannot start", r"a text can't begin with \1: put it in quotes"),
    (r"found unexpected end of stream", "a text begins here that has no end: close its quotes"),
    (r"could not find expected ':'", "a key begins here that no ':' follows: write key: value"),
    (r"expected ',' or '\]'", "a list begins here that has no end: a comma or its ] is missing"),
    (r"expected ',' or '\}'", "a mapping begins here that has no end: a comma or its } is missing"),
    (r"found unknown escape character '(.)'", r"\\\1 is no escape: write \\\\\1, or put the text in single quotes"),
    (r"expected alphabetic or numeric character", "& and * are for anchors: a text that begins so needs quotes"),
    (r"expected the node content", "a value is missing here"),
    (r"expected URI", "! begins a tag: a text that begins so needs quotes"),
    (r"expected chomping", "the text begins in the line after its | or >"),
    (r"expected '<document start>'", "this belongs to nothing: mend its indentation"),
)
# What parsers say of the end, when what has none is found where it begins.
_BEGUN: Final = ("found unexpected end of stream", "expected ',' or", "could not find expected ':'")
_CLOSE: Final = "a text has no end: close its quotes; one of several lines stands between three of them"
_ESCAPE: Final = r"a \\ begins an escape: write \\\\, or put the text in single quotes"
_TWICE: Final = "the key stands twice, or is both a value and a table: leave one out"
_WHOLE: Final = "this adds to what is complete already: put its keys together"
_TOML: Final = (
    (r"Cannot overwrite a value", _TWICE),
    (r"Duplicate inline table key '(.+)'", r"the key '\1' stands twice: leave one out"),
    (r"Cannot declare \((.+?),?\) twice", r"the table of \1 stands twice: put its keys together"),
    (r"Cannot (mutate|redefine)", _WHOLE),
    (r"Expected '=' after a key", "a key is followed by =: write key = value"),
    (r"Expected '\]'|Expected '\]\]'", "a table is written as [name], one of a list of tables as [[name]]"),
    (r"Expected newline or end of document", "something follows the value: a text needs quotes as a whole"),
    (r"Invalid (statement|initial character)", "here begins neither a key nor a [table]: other keys need quotes"),
    (r"Unclosed array", "a list has no end: a comma or its ] is missing"),
    (r"Unclosed inline table", "a mapping has no end: a comma or its } is missing, and it stands on one line"),
    (r"Unterminated string|Illegal character '\\n'|Expected [\"']+$", _CLOSE),
    (r"(?:Illegal|Found invalid) character (.+)", r"the character \1 can't be here"),
    (r"Unescaped|Invalid hex value|Escaped character", _ESCAPE),
    (r"Invalid date or datetime", "there is no such date"),
)
_AT: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_KEY: Final = re.compile(r"\s*([\w-]+)\s*=\s*(.*)", re.ASCII)
_SHOWN: Final = 40


def of_yaml(said: str) -> tuple[str, bool]:
    """Return what to tell for what PyYAML said, and whether it is where the part begins, and not where it broke off."""
    return _worded(said, _YAML), said.startswith(_BEGUN)


def of_toml(text: str, error: ValueError) -> tuple[int, str | None, str]:
    """Return the line, the key that is in it, and what to tell for what `tomllib` raised."""
    at = _AT.search(str(error))
    said = _AT.sub("", str(error))
    lines = text.split("\n")
    if at is None:
        return 0, None, said
    # Where something is missing at the end, the last line that has anything is the one to look at.
    number = int(at[1]) if at[1] else len(text.rstrip().split("\n"))
    found = _KEY.match(lines[number - 1])
    key = found[1] if found else None
    if said == "Invalid value":
        value = lines[number - 1][int(at[2]) - 1 :].strip() if at[1] else ""
        if value:
            return number, key, f"{value[:_SHOWN]} is no value: a text needs quotes"
        return number, key, "a value, or the end of a list, is missing"
    return number, key, _worded(said, _TOML)


def _worded(said: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, words in table:
        if found := re.match(pattern, said):
            return found.expand(words)
    return said
