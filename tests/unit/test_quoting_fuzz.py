"""Hostile values through a real `sh`: each comes out of its place as it went in, and nothing else happens."""

import random
import subprocess
from pathlib import Path

from awfe import Context
from awfe.steps.quoting import Script, encoded

VALUES = 2500
HOSTILE = [
    *(
        "'",
        '"',
        "`",
        "\\",
        "$",
        "$(",
        ")",
        "((",
        "))",
        "${",
        "}",
        "{",
        "{{",
        ";",
        "&",
        "&&",
        "|",
        "||",
        "<",
        ">",
        "<<",
        "#",
    ),
    *(
        "\n",
        "\r",
        "\t",
        " ",
        "*",
        "?",
        "[",
        "]",
        "~",
        "!",
        "=",
        "%",
        "^",
        "-",
        "--",
        "-n",
        "\x01",
        "\x7f",
        "\x88",
        "\u0081",
    ),
    *(
        "$(touch pwned)",
        "`touch pwned`",
        "; touch pwned #",
        "' ; touch pwned ; '",
        '" ; touch pwned ; "',
        "\ntouch pwned\n",
    ),
    *(
        "$_awfe_1",
        '"${_awfe_2}"',
        "${IFS}",
        "EOF\n",
        "\\\n",
        "'\\''",
        "'\"'\"'",
        "$'\\n'",
        "é",
        "☃",
        "\u202e",
        "\U0001f600",
        "\ud7ff",
    ),
    *("a", "B", "0", "true", "if", "exit 1", "eval", "}}", "$$", "$!", "$@", "$*", "$0", "$1", "\x1b[31m", ""),
]
# Each place, and how what stands there is printed: NUL ends a value, which none can hold.
PLACES = [
    "printf '%s\\0' {v}",
    "printf '%s\\0' {v} # '\"",
    "x={v}; printf '%s\\0' \"$x\"",
    "printf '%s\\0' \"$(printf '%s' {v}; echo .)\" | sed -z 's/\\.$//'",
    "( printf '%s\\0' {v} )",
    "{{ printf '%s\\0' {v}; }}",
    "if true; then printf '%s\\0' {v}; fi",
    "f() {{ printf '%s\\0' {v}; }}; f other words",
    "for x in {v}; do printf '%s\\0' \"$x\"; done",
    "set -- other words; printf '%s\\0' {v}",
    'V={v} sh -c \'printf "%s\\0" "$V"\'',
    "case {v} in *) printf '%s\\0' {v};; esac",
    "printf '%s\\0' '' {v} | tail -z -n 1",
    "true && printf '%s\\0' {v} || printf '%s\\0' bad",
    "echo 'it'\"'\"'s' >&2; printf '%s\\0' \\\n {v}",
]


def hostile(source: random.Random) -> str:
    """Return a text that would like to be a command."""
    return "".join(source.choices(HOSTILE, k=source.randint(0, 8)))


def test_no_value_breaks_out_of_its_place(seed: int, tmp_path: Path) -> None:
    source = random.Random(seed)  # noqa: S311 - a test, which can be repeated
    values = [*HOSTILE, *(hostile(source) for _ in range(VALUES))]
    for start in range(0, len(values), 25):
        some = values[start : start + 25]
        places = [source.choice(PLACES) for _ in some]
        template = "\n".join(place.replace("{v}", f"{{v[{n}]}}") for n, place in enumerate(places))
        assert run(template, Context({"v": list(some)}), tmp_path) == some
    assert list(tmp_path.iterdir()) == []


def test_no_word_of_a_list_breaks_out_of_its_place(seed: int, tmp_path: Path) -> None:
    source = random.Random(seed)  # noqa: S311 - a test, which can be repeated
    for _ in range(100):
        words = [hostile(source) for _ in range(source.randint(1, 20))]
        assert run("printf '%s\\0' {l}", Context({"l": list(words)}), tmp_path) == words
        assert run("set -- {l}; printf '%s\\0' \"$@\"", Context({"l": list(words)}), tmp_path) == words
    assert list(tmp_path.iterdir()) == []


def run(template: str, ctx: Context, directory: Path) -> list[str]:
    """Return what a real `sh` prints."""
    words = encoded(["sh", *Script.of(template).arguments(ctx)], "command")
    done = subprocess.run(words, cwd=directory, capture_output=True, check=True, timeout=60)  # noqa: S603 - what is tested
    return done.stdout.decode().split("\0")[:-1]
