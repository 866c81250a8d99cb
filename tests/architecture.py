"""The rules of the house that need the syntax tree: each takes source text and yields its breaches."""

import ast
from collections.abc import Iterator
from pathlib import PurePath

LONGEST_FILE = 250
LONGEST_TEST_FILE = 350  # a list of promises, read one at a time
LONGEST_FUNCTION = 40
EMPTY_NAMES = {"common", "helpers", "manager", "managers", "services", "utils"}
BANNED = {
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "pickle",
    "time.sleep",
    "time.time",
    "unittest.mock.patch",
}
OUTSIDE_WORLD = {
    *("asgiref", "celery", "channels", "django", "httpx", "kombu", "psycopg", "redis", "rest_framework"),
    *("asyncio", "concurrent", "multiprocessing", "select", "selectors", "signal", "subprocess"),
    *("fileinput", "glob", "io", "os", "pathlib", "shutil", "sqlite3", "tempfile"),
    *("ftplib", "http", "logging", "smtplib", "socket", "ssl", "time", "urllib.request"),
    *("builtins.input", "builtins.open", "builtins.print"),
}


def overlong_file(source: str, longest: int = LONGEST_FILE) -> Iterator[str]:
    lines = len(source.splitlines())
    if lines > longest:
        yield f"{lines} lines"


def overlong_functions(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"line {node.lineno}: {node.name} has {lines} lines"


def empty_names(path: PurePath) -> set[str]:
    return EMPTY_NAMES.intersection(path.with_suffix("").parts)


def banned_names(source: str) -> Iterator[str]:
    yield from mentions(source, BANNED)


def outside_world(source: str) -> Iterator[str]:
    yield from mentions(source, OUTSIDE_WORLD)


def swallowed_exceptions(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler) and catches_all(node.type) and does_nothing(node.body):
            yield f"line {node.lineno}: except"
        if isinstance(node, ast.Call) and suppresses_all(node):
            yield f"line {node.lineno}: suppress"


def suppresses_all(call: ast.Call) -> bool:
    return name_of(call.func) == "suppress" and any(map(catches_all, call.args))


def catches_all(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(map(catches_all, caught.elts))
    return caught is None or name_of(caught) in {"BaseException", "Exception"}


def does_nothing(body: list[ast.stmt]) -> bool:
    return all(
        isinstance(statement, ast.Continue | ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in body
    )


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def mentions(source: str, names: set[str]) -> Iterator[str]:
    """Where the source imports or uses one of these names, or what is inside it."""
    tree = ast.parse(source)
    meanings = meanings_of_names(tree)
    for node in ast.walk(tree):
        for name in (full_name(node, meanings), *imported_names(node)):
            if any(name == banned or name.startswith(f"{banned}.") for banned in names):
                yield f"line {getattr(node, 'lineno', 0)}: {name}"


def meanings_of_names(tree: ast.Module) -> dict[str, str]:
    """What imported names stand for: `from time import sleep as nap` gives {"nap": "time.sleep"}."""
    meanings: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            tops = ((alias, alias.name.partition(".")[0]) for alias in node.names)
            meanings |= {alias.asname or top: alias.name if alias.asname else top for alias, top in tops}
        elif isinstance(node, ast.ImportFrom):
            meanings |= {alias.asname or alias.name: f"{origin(node)}.{alias.name}" for alias in node.names}
    return meanings


def full_name(node: ast.AST, meanings: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{full_name(node.value, meanings)}.{node.attr}"
    return meanings.get(node.id, f"builtins.{node.id}") if isinstance(node, ast.Name) else ""


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{origin(node)}.{alias.name}" for alias in node.names]
    return []


def origin(node: ast.ImportFrom) -> str:
    return "." * node.level + (node.module or "")
