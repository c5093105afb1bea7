"""Whether two versions of a Python file compute the same: comments, docstrings and layout may differ."""

import ast
import hashlib

# Errors that `ast` raises for a file that is not valid Python.
_INVALID = (SyntaxError, ValueError, RecursionError, MemoryError)


def is_equivalent(a: bytes, b: bytes, ignored: str | None = None) -> bool:
    """Returns whether two files differ at most in comments, docstrings and layout.

    Args:
      a: a file.
      b: another one.
      ignored: a variable of the module whose assignment may differ, too.
    """
    try:
        return _syntax_without_docstrings(a, ignored) == _syntax_without_docstrings(b, ignored)
    except _INVALID:
        return False


def version_digest(source: bytes, ignored: str) -> str:
    """Returns a short digest that two equivalent files have in common, in one version of Python."""
    try:
        return hashlib.sha256(_syntax_without_docstrings(source, ignored).encode()).hexdigest()[:8]
    except _INVALID:
        return hashlib.sha256(source).hexdigest()[:8]


def docstring_first_line(source: bytes) -> str:
    """Returns the first line of a file's docstring, without characters that would control a terminal."""
    try:
        docstring = ast.get_docstring(ast.parse(source)) or ""
    except _INVALID:
        return ""
    line = "".join(filter(str.isprintable, docstring.partition("\n")[0]))
    return line if len(line) <= 100 else f"{line[:100]}…"


def _syntax_without_docstrings(source: bytes, ignored: str | None) -> str:
    tree = ast.parse(source)
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [ignored])
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # Also the strings after a field, which are its help text.
            node.body = [each for each in node.body if not _is_string(each)] or [ast.Pass()]
    return ast.dump(tree)


def _is_string(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
