"""Where people read what goes on: standard error, so that standard output stays a script's result."""

import rich.console

console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
