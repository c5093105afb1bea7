"""The console for progress and warnings, on standard error; standard output holds only a script's result."""

import rich.console

console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
if console.is_jupyter:  # the plain text that a saved notebook holds next to the HTML should have no color codes
    console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True, markup=False, color_system=None)
