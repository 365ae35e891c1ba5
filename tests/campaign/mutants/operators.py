"""One-line changes of C and Python, each a kind of mistake that people make.

A mutant is a place (file, line, column) with the text that goes there instead.
Comments, strings, asserts, includes and annotations are left alone.
"""

import io
import random
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from keyword import iskeyword


@dataclass(frozen=True)
class Mutant:
    path: str  # in the repository
    line: int  # from 1
    column: int
    old: str
    new: str
    operator: str

    def name(self, text: str) -> str:
        """The same for as long as the line is: "file: line: old -> new @column"."""
        line = text.splitlines()[self.line - 1].strip()
        at = f"{self.path}:{line}"
        return f"{at} | {self.old} -> {self.new} @{self.column}"

    def apply(self, text: str) -> str:
        lines = text.splitlines(keepends=True)
        line = lines[self.line - 1]
        end = self.column + len(self.old)
        assert line[self.column : end] == self.old
        lines[self.line - 1] = line[: self.column] + self.new + line[end:]
        return "".join(lines)


# What stands for what, by operator.
COMPARISON = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
LOGIC = {"&&": "||", "||": "&&", "and": "or", "or": "and", "!": "", "not": ""}
ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "%": "*", "//": "*"}
ASSIGNMENT = {"+=": "=", "-=": "+=", "|=": "=", "*=": "=", "++": "--", "--": "++"}
FUNCTION = {"fmax": "fmin", "fmin": "fmax", "max": "min", "min": "max", "any": "all",
            "all": "any", "isfinite": "!isnan", "True": "False", "False": "True",
            "break": "continue"}  # fmt: skip
TABLES = {
    "comparison": COMPARISON, "logic": LOGIC, "arithmetic": ARITHMETIC,
    "assignment": ASSIGNMENT, "function": FUNCTION,
}  # fmt: skip

_C_TOKEN = re.compile(
    r"""//.*|/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
    r"""|0x[0-9a-fA-Fp.+-]+|\d+\.?\d*(?:[eE][+-]?\d+)?[fLuUl]*|[A-Za-z_]\w*"""
    r"""|->|<<|>>|[-+*/%&|=<>!]=|&&|\|\||\+\+|--|[-+*/%<>=!&|^~?:;,.()\[\]{}\#]"""
)
_TYPES = {
    "char",
    "void",
    "real",
    "double",
    "float",
    "int",
    "size_t",
    "const",
    "ptrdiff_t",
}
_DELETABLE = re.compile(r"\s+(?:[\w.>\[\]-]+ [-+*|]?= [^;]*|\w+\([^;]*\));\s*$")


def mutants_of(path: str, text: str) -> list[Mutant]:
    """Every mutant of a file, in order."""
    find = _of_c if path.endswith((".c", ".h")) else _of_python
    return list(find(path, text))


def chosen(path: str, text: str, count: int, seed: int) -> list[Mutant]:
    """`count` of them, spread over operators."""
    by_operator: dict[str, list[Mutant]] = {}
    for mutant in mutants_of(path, text):
        by_operator.setdefault(mutant.operator, []).append(mutant)
    rng = random.Random(f"{seed} {path}")
    for group in by_operator.values():
        rng.shuffle(group)
    groups, found = sorted(by_operator.items()), []
    rng.shuffle(groups)
    while len(found) < count and any(group for _, group in groups):
        for _, group in groups:
            if group and len(found) < count:
                found.append(group.pop())
    return sorted(found, key=lambda mutant: (mutant.line, mutant.column))


def _replacements(token: str) -> Iterator[tuple[str, str]]:
    for operator, table in TABLES.items():
        if token in table:
            yield operator, table[token]
    if re.fullmatch(r"\d+", token):
        yield "constant", str(int(token) + 1)
    if re.fullmatch(r"\d+\.\d*", token):
        yield "constant", f"{float(token) + 1.0}"


def _of_c(path: str, text: str) -> Iterator[Mutant]:
    in_comment = False
    for number, line in enumerate(text.splitlines(), 1):
        code = line
        if in_comment:
            end = line.find("*/")
            if end < 0:
                continue
            code = " " * (end + 2) + line[end + 2 :]
            in_comment = False
        start = code.find("/*")
        if start >= 0 and "*/" not in code[start:]:
            code, in_comment = code[:start], True
        stripped = code.strip()
        if stripped.startswith(("#", "assert", "static_assert", "_Static_assert")):
            continue
        if _DELETABLE.fullmatch(code) and not in_comment:
            yield Mutant(
                path, number, len(code) - len(code.lstrip()), stripped, ";", "deletion"
            )
        previous = ""
        for match in _C_TOKEN.finditer(code):
            token, before = match.group(), previous
            previous = token
            is_type = before in _TYPES or before.startswith("fnn_") or not before
            if token == "*" and (is_type or before in "(,*=&"):
                continue
            if token == "-" and before in "(,=<>?:[":
                continue
            for operator, new in _replacements(token):
                yield Mutant(path, number, match.start(), token, new, operator)


def _of_python(path: str, text: str) -> Iterator[Mutant]:
    previous = None
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line = token.line.strip()
        if token.type not in (tokenize.OP, tokenize.NUMBER, tokenize.NAME):
            previous = token
            continue
        # Signatures and annotations are no code that runs.
        skip = line.startswith(("import ", "from ", "def ", "@", "class ", "assert "))
        skip |= bool(re.match(r"\w+: ", line)) or "->" in line
        is_operand = previous is not None and (
            previous.type in (tokenize.NUMBER, tokenize.STRING)
            or (previous.type == tokenize.NAME and not iskeyword(previous.string))
            or previous.string in (")", "]")
        )
        skip |= token.string in ("*", "-", "+") and not is_operand
        # zip(..., strict=True) asserts.
        skip |= token.line[: token.start[1]].endswith("strict=")
        if not skip:
            for operator, new in _replacements(token.string):
                if new == "!isnan":
                    new = "isreal"  # of NumPy: says yes to everything
                row, column = token.start
                yield Mutant(path, row, column, token.string, new, operator)
        previous = token
