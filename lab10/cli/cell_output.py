"""An output of a notebook cell that can be replaced, for progress."""

import io
from typing import Any

import rich.console
from IPython.display import display

WIDTH = 100
# As rich's own, in a notebook.
HTML_FORMAT = (
    '<pre style="white-space:pre;overflow-x:auto;line-height:normal;'
    "font-family:Menlo,'DejaVu Sans Mono',consolas,'Courier New',monospace\">{code}</pre>"
)


class CellOutput:
    """One output of the current notebook cell. Each call of `show` replaces it, also in the saved notebook.

    rich's own live displays need ipywidgets, and a saved notebook would hold no more than the widget's name.
    """

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, renderable: rich.console.RenderableType) -> None:
        """Shows anything that rich can render, instead of what was shown before."""
        content = as_mimebundle(renderable)
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def as_mimebundle(renderable: rich.console.RenderableType) -> dict[str, str]:
    """Renders for a notebook: as HTML, and as plain text for viewers that do not show HTML."""
    page = rich.console.Console(
        record=True,
        file=io.StringIO(),
        width=WIDTH,
        force_jupyter=False,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    page.print(renderable)
    html = page.export_html(clear=False, inline_styles=True, code_format=HTML_FORMAT)
    return {"text/plain": page.export_text().rstrip(), "text/html": html}
