"""Small expressions over a context, read and worked out without ever being run as Python.

Only what is listed here means something. What they cost is bounded by their length and by the size of the context.
"""

import ast
import operator
import re
import time
import warnings
from collections.abc import Callable
from typing import Any

from awfe.domain.context import Context
from awfe.errors import ContextError, InvalidInput
from awfe.steps.templates import Place, look_up

MAX_LENGTH = 1000
_MAX_DEPTH = 30
_MAX_BITS = 2048
_MAX_TEXT = 1 << 20
_MAX_DIGITS = 100
_MAX_SECONDS = 1.0

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, of: item in of,
    ast.NotIn: lambda item, of: item not in of,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_NODES: tuple[Any, ...] = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.List, ast.Tuple, ast.Dict, ast.Subscript),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, *_UNARY, ast.BinOp, *_ARITHMETIC),
    *(ast.Compare, *_COMPARE, ast.IfExp, ast.Call),
)
_SHOWN = {"Pow": "**", "Attribute": "a dot: write x['key']", "Slice": "a slice", "JoinedStr": "an f-string"}
_PATH = re.compile(r"[^\W\d][\w-]*(?:\.[\w-]+|\[\d{1,9}\])*")
_PART = re.compile(r"([\w-]+)|\[(\d+)\]")


def _rounded(number: Any, digits: Any = None) -> Any:
    if digits is not None and (type(digits) is not int or abs(digits) > _MAX_DIGITS):
        msg = f"round to {digits!r:.20} digits"
        raise ValueError(msg)
    return round(number, digits)


def _text(value: Any) -> str:
    # Of a list or a dict it would be Python's way to write it, and long.
    return _no("a str, a number, a bool or None", value) if isinstance(value, list | dict) else str(value)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": len,
    "min": min,
    "max": max,
    "sum": sum,
    "all": all,
    "any": any,
    "abs": abs,
    "round": _rounded,
    "str": _text,
    "int": int,
    "float": float,
    "startswith": lambda text, start: _string(text).startswith(_string(start)),
    "endswith": lambda text, end: _string(text).endswith(_string(end)),
    "lower": lambda text: _string(text).lower(),
    "upper": lambda text: _string(text).upper(),
    "strip": lambda text: _string(text).strip(),
    "keys": lambda of: list(of.keys() if isinstance(of, dict) else _no("a dict", of)),
    "values": lambda of: list(of.values() if isinstance(of, dict) else _no("a dict", of)),
}
_OF_CONTEXT = ("exists", "get")
KNOWN = ", ".join((*_FUNCTIONS, *_OF_CONTEXT))


def _string(value: Any) -> str:
    return value if isinstance(value, str) else _no("a str", value)


def _no(wanted: str, value: Any) -> Any:
    msg = f"{wanted} is needed, not a {type(value).__name__}"
    raise TypeError(msg)


class Expression:
    """An expression; raises `InvalidInput` for what can't be read or is not known."""

    def __init__(self, text: object) -> None:
        """Read it; nothing is worked out yet."""
        if not isinstance(text, str) or not 0 < len(text) <= MAX_LENGTH:
            msg = f"expression={text!r:.100}: give a str of 1 to {MAX_LENGTH} characters"
            raise InvalidInput(msg)
        self.text = text
        try:
            with warnings.catch_warnings():
                # Of Python code that looks odd: no business of ours.
                warnings.simplefilter("ignore")
                tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            where = f", at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
            what = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deep"
            msg = f"expression={text!r}: {what}{where}"
            raise InvalidInput(msg) from None
        self._check(tree, _MAX_DEPTH)
        self._tree = tree.body

    def _check(self, node: ast.AST, depth: int) -> None:
        if not depth:
            self._refuse("nested too deep")
        if not isinstance(node, _NODES):
            name = type(node).__name__
            self._refuse(f"{_SHOWN.get(name, name)} can't be used here")
        if isinstance(node, ast.Constant) and type(node.value) not in (str, int, float, bool, type(None)):
            self._refuse(f"{node.value!r:.40} can't be used here")
        if isinstance(node, ast.Dict) and None in node.keys:
            self._refuse("** can't be used here")
        if isinstance(node, ast.Compare):
            self._check_is(node)
        children = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.Call):
            self._check_call(node)
            children.remove(node.func)
        for child in children:
            self._check(child, depth - 1)

    def _check_is(self, node: ast.Compare) -> None:
        for op, right in zip(node.ops, node.comparators, strict=True):
            singleton = isinstance(right, ast.Constant) and (right.value is None or isinstance(right.value, bool))
            if isinstance(op, ast.Is | ast.IsNot) and not singleton:
                self._refuse("'is' is for None, True and False; write ==")

    def _check_call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name not in _FUNCTIONS and name not in _OF_CONTEXT:
            self._refuse(f"the functions are {KNOWN}")
        if node.keywords or any(isinstance(each, ast.Starred) for each in node.args):
            self._refuse(f"{name} takes plain arguments")
        if name in _OF_CONTEXT:
            path = node.args[0] if node.args else None
            given = isinstance(path, ast.Constant) and isinstance(path.value, str) and path.value
            if not given or not _PATH.fullmatch(given) or len(node.args) > (1 if name == "exists" else 2):
                self._refuse(f"{name} takes the path of a value as 'key', 'key.part' or 'key[0]'")

    def _refuse(self, why: str) -> None:
        msg = f"expression={self.text!r}: {why}"
        raise InvalidInput(msg)

    @property
    def names(self) -> set[str]:
        """The keys of the context that it can't do without."""
        nodes = list(ast.walk(self._tree))
        calls = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
        asked = {node.value for node in nodes if isinstance(node, ast.Constant)}
        return {n.id for n in nodes if isinstance(n, ast.Name) and id(n) not in calls} - asked

    def work_out(self, ctx: Context) -> tuple[Any, dict[str, Any]]:
        """Return what it comes to, and the values of the context that it looked at.

        Raises `ContextError` for what can't be worked out.
        """
        seen: dict[str, Any] = {}
        try:
            return _Worker(ctx, seen).of(self._tree), seen
        except (TypeError, ValueError, LookupError, ArithmeticError, RecursionError) as error:
            if isinstance(error, ContextError):
                raise
            msg = f"{self.text!r} can't be worked out: {error}" + shown(seen)
            raise ContextError(msg) from None


def shown(seen: dict[str, Any]) -> str:
    """Return the values that were looked at, for a message."""
    return "".join(f"\n  {name} = {value!r:.200}" for name, value in seen.items())


class _Worker:
    """Works out one expression over one context."""

    def __init__(self, ctx: Context, seen: dict[str, Any]) -> None:
        self._ctx = ctx
        self._seen = seen
        self._until = time.thread_time() + _MAX_SECONDS

    def of(self, node: ast.expr) -> Any:
        """Return what a part comes to; each one costs what is linear in the size of the context."""
        if time.thread_time() > self._until:
            msg = "it takes too long"
            raise ValueError(msg)
        return getattr(self, f"_{type(node).__name__.lower()}")(node)

    def _constant(self, node: ast.Constant) -> Any:
        return node.value

    def _name(self, node: ast.Name) -> Any:
        if node.id not in self._seen:
            self._seen[node.id] = look_up(self._ctx, Place(node.id, (node.id,)))
        return self._seen[node.id]

    def _list(self, node: ast.List) -> Any:
        return [self.of(item) for item in node.elts]

    # Compared with what a context has, a list is meant.
    _tuple = _list

    def _dict(self, node: ast.Dict) -> Any:
        return {
            self.of(key): self.of(value) for key, value in zip(node.keys, node.values, strict=True) if key is not None
        }

    def _subscript(self, node: ast.Subscript) -> Any:
        of, key = self.of(node.value), self.of(node.slice)
        if not isinstance(of, (dict, list, str)):
            _no("a dict, a list or a str before [", of)
        try:
            return of[key]
        except LookupError:
            msg = f"there is no [{key!r:.60}]"
            raise LookupError(msg) from None

    def _boolop(self, node: ast.BoolOp) -> Any:
        value: Any = None
        for each in node.values:
            value = self.of(each)
            if bool(value) is isinstance(node.op, ast.Or):
                break
        return value

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        return _UNARY[type(node.op)](self.of(node.operand))

    def _ifexp(self, node: ast.IfExp) -> Any:
        return self.of(node.body if self.of(node.test) else node.orelse)

    def _compare(self, node: ast.Compare) -> Any:
        left = self.of(node.left)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.of(right_node)
            if not _COMPARE[type(op)](left, right):
                return False
            left = right
        return True

    def _binop(self, node: ast.BinOp) -> Any:
        left, right = self.of(node.left), self.of(node.right)
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if not numbers and not (isinstance(node.op, ast.Add) and isinstance(left, (str, list))):
            _no("a number", left if not isinstance(left, (int, float)) else right)
        value = _ARITHMETIC[type(node.op)](left, right)
        if (isinstance(value, int) and value.bit_length() > _MAX_BITS) or (
            isinstance(value, (str, list)) and len(value) > _MAX_TEXT
        ):
            msg = "the result is too large"
            raise ValueError(msg)
        return value

    def _call(self, node: ast.Call) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in _OF_CONTEXT:
            return self._of_context(name, *map(self.of, node.args))
        return _FUNCTIONS[name](*map(self.of, node.args))

    def _of_context(self, name: str, path: str, default: Any = None) -> Any:
        keys = tuple(key or int(index) for key, index in _PART.findall(path))
        try:
            value = look_up(self._ctx, Place(path, keys))
        except ContextError:
            self._seen.setdefault(path, None)
            return False if name == "exists" else default
        self._seen[path] = value
        return True if name == "exists" else value
