"""Reads the text form of a program; the grammar opens `core.py`."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import NoReturn

from .core import Op, Program, TensorType, Value, make_op
from .dims import Dim
from .errors import IRError
from .spec import Scalar
from .verifier import verify

_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<text>\"[^\"\n]*\")"
    r"|(?P<number>-?(?:\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+|\d+)(?![\w.]))"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>[()\[\]{}:,=*+])"
)


def parse(text: str) -> Program:
    """The verified program that `text` spells; raises IRError with the line of a mistake."""
    return verify(_Parser(text).program())


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = list(_tokens(text))
        self.at = 0
        self.values: dict[str, Value] = {}

    def program(self) -> Program:
        self.take("program")
        name = self.name()
        inputs = []
        self.take("(")
        while self.peek() != ")":
            inputs.append(self.value())
            self.values[inputs[-1].name] = inputs[-1]
            if self.peek() != ")":
                self.take(",")
        self.take(")")
        self.take("{")
        ops = []
        while self.peek() != "return":
            ops.append(self.op())
        self.take("return")
        outputs = []
        while self.peek() != "}":
            outputs.append(self.reference())
            if self.peek() != "}":
                self.take(",")
        self.take("}")
        if self.at != len(self.tokens):
            self.fail("the end of the text", self.peek())
        return Program(name, tuple(inputs), tuple(ops), tuple(outputs))

    def op(self) -> Op:
        results = [self.value()]
        while self.peek() == ",":
            self.take(",")
            results.append(self.value())
        self.take("=")
        kind = self.name()
        operands: dict[str, Value | None] = {}
        self.take("(")
        while self.peek() != ")":
            key = self.fresh(operands)
            operands[key] = self.reference()
            if self.peek() != ")":
                self.take(",")
        self.take(")")
        attrs: dict[str, Scalar | None] = {}
        if self.peek() == "{":
            self.take("{")
            while self.peek() != "}":
                key = self.fresh(attrs)
                attrs[key] = self.literal()
                if self.peek() != "}":
                    self.take(",")
            self.take("}")
        self.values.update({value.name: value for value in results})
        return make_op(kind, operands, results, attrs)

    def value(self) -> Value:
        """A definition, `name: type`; inputs may be read from here on."""
        name = self.name()
        self.take(":")
        dtype = self.name()
        dims: list[Dim] = []
        self.take("[")
        while self.peek() != "]":
            dims.append(self.dim())
            if self.peek() != "]":
                self.take(",")
        self.take("]")
        return Value(name, TensorType(dtype, tuple(dims)))

    def dim(self) -> Dim:
        text = ""
        while self.peek() not in (",", "]"):
            text += self.next()
        return int(text) if text.isdigit() else text

    def reference(self) -> Value:
        name = self.name()
        if name not in self.values:
            self.fail("a value that is defined above", name)
        return self.values[name]

    def literal(self) -> Scalar:
        kind, text, _ = self.current()
        if kind not in ("number", "text") and text not in ("true", "false"):
            self.fail("a number, true, false or a quoted string", text)
        self.next()
        if kind == "text":
            return text[1:-1]
        if text in ("true", "false"):
            return text == "true"
        return int(text) if text.lstrip("-").isdigit() else float(text)

    def fresh(self, taken: Container[str]) -> str:
        """The name before "=", which may be given only once."""
        name = self.name()
        if name in taken:
            self.fail("each name once", name)
        self.take("=")
        return name

    def name(self) -> str:
        kind, text, _ = self.current()
        if kind != "name":
            self.fail("a name", text)
        return self.next()

    def take(self, expected: str) -> None:
        if self.peek() != expected:
            self.fail(f"{expected!r}", self.peek())
        self.next()

    def peek(self) -> str:
        return self.current()[1]

    def current(self) -> tuple[str, str, int]:
        if self.at >= len(self.tokens):
            self.fail("more", "the end of the text")
        return self.tokens[self.at]

    def next(self) -> str:
        text = self.peek()
        self.at += 1
        return text

    def fail(self, expected: str, given: str) -> NoReturn:
        line = self.tokens[min(self.at, len(self.tokens) - 1)][2] if self.tokens else 1
        raise IRError(f"program text, line {line}: expected {expected}, given {given}")


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """(kind, text, line) of each token."""
    at = 0
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        found = _TOKEN.match(text, at)
        if found is None:
            raise IRError(f"program text, line {line}: expected a token, given {text[at]!r}")
        at = found.end()
        if found.lastgroup != "space":
            yield str(found.lastgroup), found.group(), line
