"""The console for progress and warnings, on standard error; standard output holds only a script's result."""

import rich.console

console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
