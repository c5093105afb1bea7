"""The console for progress and messages: standard error, because standard output is a script's result."""

import rich.console

console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
