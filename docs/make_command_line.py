"""Write the options of all commands into docs/reference/command-line.md.

`python docs/make_command_line.py` writes them from what `fastnn` itself parses; a test
compares.
"""

import argparse
import re
from pathlib import Path

from fastnn.cli import _parser

PAGE = Path(__file__).parent / "reference" / "command-line.md"
PLACE = re.compile(r"(?<=<!-- options -->\n).*(?=<!-- end -->)", re.DOTALL)


def options_text() -> str:
    """Return a table of arguments and options for each command."""
    parser = _parser()
    (commands,) = (
        action
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    parts = []
    for name, command in commands.choices.items():
        rows = [_row(action) for action in command._actions if action.dest != "help"]
        parts.append(
            f"\n### fastnn {name}\n\n{command.description}\n\n"
            "| option | meaning |\n| --- | --- |\n" + "\n".join(rows) + "\n"
        )
    return "".join(parts) + "\n"


def _row(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    metavar = action.metavar
    if metavar is None and action.nargs != 0:
        metavar = action.dest.upper()
    if action.choices:
        metavar = None
    if metavar and names:
        names = f"{names[:-1]} {metavar}`"
    text = action.help or ""
    if action.choices:
        values = ", ".join(f"`{value}`" for value in action.choices)
        text = "; ".join(filter(None, [text, values]))
    text = text.replace("|", "\\|")
    return f"| {names or f'`{metavar}`'} | {text} |"


if __name__ == "__main__":
    page = PAGE.read_text()
    PAGE.write_text(PLACE.sub(lambda _: options_text(), page))
