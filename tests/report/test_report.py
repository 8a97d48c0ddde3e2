"""``hsa-compiler report``: the list, the page in every state of a study, its file, bad input."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial

from hsa_compiler import __version__
from hsa_compiler.cli.main import main
from hsa_compiler.report.find import MOST
from hsa_compiler.report.page import MARK
from hsa_compiler.tuner import session, setting
from hsa_compiler.tuner.claims import owner_stamp
from hsa_compiler.tuner.storage import StudyName, default_journal, open_storage, open_study
from tests.tuner.fakes import InProcessWorker, SilentView, request
from tests.tuner.test_fleet import only_study

BASE = "attend/gpu/a8/local/0123456789ab"
SECTIONS = (
    "verdict",
    "history",
    "device",
    "importances",
    "knobs",
    "failures",
    "roofline",
    "fastest",
)
#: Elements without an end.
VOID = ("meta", "img", "link", "br")
SPACE = {"warps": IntDistribution(0, 3), "order": CategoricalDistribution(["token", "<i>union"])}


class Page(HTMLParser):
    """Checks that elements nest, and collects ids, attributes that may load something, and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        self.ids += [str(values["id"])] if "id" in values else []
        self.loads += [str(values[name]) for name in ("src", "href", "data") if name in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.text += {"td": " ", "tr": "\n"}.get(tag, "")

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\n", " ") if "table" in self.open else data

    def section(self, name: str, study: int = 1) -> str:
        """The words of one section."""
        heads = {
            "verdict": "Verdict",
            "history": "Optimisation history",
            "device": "The device meanwhile",
            "importances": "Which knobs matter",
            "knobs": "Times by knob",
            "failures": "Failures",
            "roofline": "Share of the roofline",
            "fastest": "The fastest candidates",
        }
        names = list(heads)
        after = self.text.split(heads[name])[study]
        following = names.index(name) + 1
        return after.split(heads[names[following]])[0] if following < len(names) else after


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(setting, "Worker", InProcessWorker)


@pytest.fixture
def storage(tmp_path: Path) -> BaseStorage:
    return open_storage(str(tmp_path / "journal"))


def tune(folder: Path, **changes: Any) -> None:
    session.run(request(folder, **({"kernels": ("landmark_grad",)} | changes)), SilentView())


def report(folder: Path, *words: str) -> int:
    return main(["report", "--storage", str(folder / "journal"), *words])


def page(folder: Path, *words: str) -> Page:
    path = folder / "page.html"
    assert report(folder, *words, "--out", str(path)) == 0
    return Page(path)


def timed(study: optuna.Study, count: int, **attributes: Any) -> None:
    """Add candidates that took 1, 2, ... ms."""
    for number in range(count):
        params = {"warps": number % 4, "order": "token"}
        study.add_trial(
            create_trial(
                value=math.log(1 + number),
                params=params,
                distributions=SPACE,
                user_attrs=attributes,
            )
        )


def failing(study: optuna.Study, state: TrialState = TrialState.FAIL, **attributes: Any) -> None:
    params = {"warps": 0, "order": "<i>union"}
    study.add_trial(
        create_trial(state=state, params=params, distributions=SPACE, user_attrs=attributes)
    )


def test_the_page_of_a_finished_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deeds = {
        "plant": {"2": "wrong", "4": "raise"},
        "times": {"order=chunk pairs=1 dim_block=32": 0.5},
    }
    monkeypatch.setenv("FAKE_BENCH", json.dumps(deeds))
    tune(tmp_path)
    found = page(tmp_path, "landmark")
    assert found.ids == ["study-1", *(f"study-1-{name}" for name in SECTIONS)]
    assert "nav" not in found.tags
    assert all(url.startswith("data:image/svg+xml;base64,") for url in found.loads)
    assert "://" not in re.sub(r"base64,[^\"]*", "", (tmp_path / "page.html").read_text())
    assert "script" not in found.tags
    for word in (
        "landmark_grad probe on ",
        "local",
        "back end",
        "tvm",
        f"project {__version__}",
        "Dr=16",
    ):
        assert word in found.text
    verdict = found.section("verdict")
    assert "landmark_grad probe: 501 us, 2.00x (2.00-2.00) over the default" in verdict
    assert "ships: tuned" in verdict
    assert "2.000x (2.000-2.000)" in verdict
    failures = found.section("failures")
    assert "out is off by 0.5" in failures
    assert "a bug in a kernel" in failures
    assert "No schedule can take less than" in found.section("roofline")
    assert "The fastest candidate reaches" in found.section("roofline")
    fastest = found.section("fastest")
    rows = [line.split() for line in fastest.splitlines() if "e-07" in line]
    assert [row[1:3] for row in rows] == [["500", "us"], *[["1", "ms"]] * 4]
    assert rows[0][-2:] == ["1", "32"]
    assert ["default,", "planned", "16", "32"] in [row[-4:] for row in rows]
    assert f"wrote {tmp_path / 'page.html'}" in capsys.readouterr().out


def test_the_plots(tmp_path: Path, storage: BaseStorage) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    style = dict(matplotlib.rcParams)
    timed(open_study(storage, BASE, resume=False).study, 12)
    drawn = page(tmp_path, BASE).loads
    assert len(drawn) == 3  # the history, the importances and `warps`; `order` has one value
    for url in drawn:
        image = base64.b64decode(url.removeprefix("data:image/svg+xml;base64,"), validate=True)
        links = [
            value
            for element in ElementTree.fromstring(image).iter()
            for name, value in element.attrib.items()
            if name.endswith("href")
        ]
        assert links
        assert all(link.startswith(("#", "data:image/png;")) for link in links)
    assert page(tmp_path, BASE).loads == drawn
    assert dict(matplotlib.rcParams) == style


def test_without_matplotlib_the_page_says_so(
    tmp_path: Path,
    storage: BaseStorage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    timed(open_study(storage, BASE, resume=False).study, 12)
    found = page(tmp_path, "attend")
    assert found.loads == []
    for name in ("history", "knobs"):
        assert "pip install 'hsa-compiler[bench]'" in found.section(name)
    assert "PED-ANOVA over 12 timed candidates" in found.section("importances")
    assert "warps" in found.section("importances")
    assert capsys.readouterr().err.count("matplotlib is not installed") == 1


def test_everything_of_a_study_is_escaped(tmp_path: Path, storage: BaseStorage) -> None:
    study = open_study(storage, "<b>k/<script>x/a8/lo&cal/0", resume=False).study
    timed(study, 2)
    failing(study, failure="<h1>kind", message="<script>alert(1)</script>")
    study.set_user_attr("failed", "</article><img src=http://x.org/y>")
    found = page(tmp_path, "k/")
    assert not {"script", "b", "i", "h1 kind"} & found.tags
    assert all(url.startswith("data:") for url in found.loads)
    assert "<script>alert(1)</script>" in found.section("failures")
    assert "<i>union" in found.section("failures")
    assert "Ended without a verdict: </article>" in found.section("verdict")


def seen(study: optuna.Study, **facts: Any) -> None:
    """Add a candidate and what was seen of the device."""
    facts = {"median_ms": 1.0, "spread_ms": 0.0, "samples": 20, "error": 1e-7} | facts
    timed(study, 1, outcome=facts)


def test_how_the_device_fared(tmp_path: Path, storage: BaseStorage) -> None:
    study = open_study(storage, BASE, resume=False).study
    seen(study, clock_mhz=1980, watts=412.5, throttled=[], tries=1)
    seen(study, clock_mhz=1755, watts=None, throttled=["sw_power_cap"], tries=3, drift=1.01)
    seen(study, clock_mhz=None, watts=700, tries=3, throttled=["hw_thermal", "<b>brake"])
    seen(study)  # by an earlier version
    found = page(tmp_path, BASE)
    device = found.section("device")
    assert "Of 3 candidates 2 were timed again as the device was disturbed, in 4 more" in device
    assert "1 stayed so" in device
    rows = [line.split() for line in device.splitlines() if line.strip()]
    assert ["SM", "clock,", "MHz", "1755", "1868", "1980"] in rows
    assert ["power,", "W", "412", "556", "700"] in rows
    for row in (["sw_power_cap", "1"], ["hw_thermal", "1"], ["<b>brake", "1"]):
        assert row in rows
    assert "b" not in found.tags


def test_the_plot_of_the_device(tmp_path: Path, storage: BaseStorage) -> None:
    pytest.importorskip("matplotlib")
    study = open_study(storage, BASE, resume=False).study
    seen(study, clock_mhz=1980, tries=1)
    assert len(page(tmp_path, BASE).loads) == 2  # the history and the device
    seen(study, watts=700.0, tries=3, throttled=["hw_slowdown"])
    assert page(tmp_path, BASE).loads == page(tmp_path, BASE).loads


def test_a_device_that_is_not_known(tmp_path: Path, storage: BaseStorage) -> None:
    study = open_study(storage, BASE, resume=False).study
    seen(study)
    assert page(tmp_path, BASE).section("device").strip() == "Not recorded."
    seen(study, tries=1)
    device = page(tmp_path, BASE).section("device")
    assert "Of 1 candidates 0 were timed again" in device
    assert "a CPU, or a GPU whose driver tells none" in device
    seen(study, tries=1, clock_mhz=1980)
    assert "Nothing is known to have held clocks down." in page(tmp_path, BASE).section("device")


def test_times_with_the_other_l2_stand_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(tmp_path)
    assert "L2 cache" not in page(tmp_path, "landmark").section("verdict")
    study = only_study(str(tmp_path / "journal"))
    done = study.user_attrs["done"]
    entry = done["result"]["entry"]
    time = {"median_ms": 0.123, "spread_ms": 0.0, "samples": 30}
    entry["other_l2"] = {"warm": True, **dict.fromkeys(("time", "default", "planned"), time)}
    done["result"]["note"] = "with a warm <i>L2"
    study.set_user_attr("done", done)
    found = page(tmp_path, "landmark")
    verdict = found.section("verdict")
    assert "median, L2 cache warm" in verdict
    assert verdict.count("123 us") == 3  # default, planned, and what ships
    assert "with a warm <i>L2" in verdict
    assert "i" not in found.tags


def test_an_empty_study(tmp_path: Path, storage: BaseStorage) -> None:
    open_study(storage, BASE, resume=False)
    found = page(tmp_path, BASE)
    assert len(found.ids) == 1 + len(SECTIONS)
    assert "No candidate has been tried" in found.section("verdict")
    assert "No candidate has a time." in found.section("history")
    assert "Not recorded." in found.section("device")
    assert "Too few candidates to say: it takes 10" in found.section("importances")
    assert "None of 0 candidates failed." in found.section("failures")
    assert "Not recorded." in found.section("roofline")
    assert "No candidate has a time." in found.section("fastest")


def test_a_study_at_work_and_one_that_was_killed(tmp_path: Path, storage: BaseStorage) -> None:
    study = open_study(storage, BASE, resume=False).study
    timed(study, 1)
    failing(study, TrialState.RUNNING, owner=owner_stamp())
    assert "At work, candidates in flight: 1;" in page(tmp_path, BASE).section("verdict")
    killed = open_study(storage, BASE, resume=False).study
    timed(killed, 1)
    failing(killed, TrialState.RUNNING, owner=owner_stamp() | {"born": 0.0})
    failing(killed, TrialState.RUNNING)
    failing(killed)
    found = page(tmp_path, BASE)
    assert f"{BASE}#2" in found.text
    assert "autotune --resume goes on" in found.section("verdict")
    assert found.section("failures").split("interrupted")[1].split()[0] == "3"
    assert "in flight when its run ended" in found.section("failures")


def test_a_run_whose_default_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_BENCH", json.dumps({"race": "exit", "broken": True}))
    tune(tmp_path)
    found = page(tmp_path, "landmark")
    assert "Ended without a verdict" in found.section("verdict")
    assert "these inputs cannot be made" in found.section("verdict")


def test_records_of_another_version_are_named_and_left_out(
    tmp_path: Path, storage: BaseStorage
) -> None:
    study = open_study(storage, BASE, resume=False).study
    timed(study, 2, outcome={"median": 1})
    for label in ("plan", "floor", "done"):
        study.set_user_attr(label, {"what": "else"})
    found = page(tmp_path, BASE)
    for label in ("plan", "floor", "verdict"):
        assert f"The study's {label} is in the form of another version" in found.text
    assert "not recorded" in found.text
    assert "1 ms" in found.section("fastest")
    study.set_user_attr("done", [])
    assert "The study's verdict is in" in page(tmp_path, BASE).text


def test_an_older_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(tmp_path)
    monkeypatch.setattr("hsa_compiler.report.page.__version__", "9.9")
    text = page(tmp_path, "landmark").text
    assert f"Tuned with version {__version__}; this page is made by 9.9." in text


def test_a_part_of_a_name_means_the_newest_run_of_every_match(
    tmp_path: Path, storage: BaseStorage
) -> None:
    for base in (BASE, BASE, BASE.replace("attend", "retrieve"), "attend_grad/cpu/tiny/random/ab"):
        timed(open_study(storage, base, resume=False).study, 1)
    optuna.create_study(study_name="someone/else's", storage=storage)
    found = page(tmp_path, "/gpu/")
    assert "nav" in found.tags
    assert [url for url in found.loads if url.startswith("#")] == ["#study-1", "#study-2"]
    assert len(found.ids) == 2 * (1 + len(SECTIONS))
    assert f"{BASE}#2" in found.text
    assert f"{BASE}#1" not in found.text
    assert f"{BASE}#1" in page(tmp_path, f"{BASE}#1").text
    assert len(page(tmp_path, "attend/", "grad", "attend_grad").ids) == 2 * (1 + len(SECTIONS))
    for word in ("nothing", "else", ""):
        assert report(tmp_path, word) == 2
    assert not list(tmp_path.glob("report*"))


def test_the_list(tmp_path: Path, storage: BaseStorage, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(tmp_path) == 0
    assert "holds no study" in capsys.readouterr().out
    optuna.create_study(study_name="someone/else's", storage=storage)
    timed(open_study(storage, BASE, resume=False).study, 3)
    open_study(storage, BASE, resume=False)
    capsys.readouterr()
    assert report(tmp_path, "--json") == 0
    second, first = json.loads(capsys.readouterr().out)
    assert second == {"study": f"{BASE}#2", "trials": 0, "best_ms": None, "started": None}
    assert (first["study"], first["trials"], first["best_ms"]) == (f"{BASE}#1", 3, 1.0)
    assert report(tmp_path) == 0
    assert f"{BASE}#1" in capsys.readouterr().out


def test_more_studies_than_a_page_holds(
    tmp_path: Path, storage: BaseStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(MOST + 1):
        open_study(storage, f"attend/gpu/a8/local/{number}", resume=False)
    assert report(tmp_path, "attend") == 2
    assert f"{MOST + 1} studies, and a page holds {MOST} at most" in capsys.readouterr().err


def test_only_an_earlier_report_is_overwritten(
    tmp_path: Path, storage: BaseStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    open_study(storage, BASE, resume=False)
    assert report(tmp_path, BASE, "--json") == 0
    name = "report-attend-gpu-0123456789ab-1.html"
    assert json.loads(capsys.readouterr().out) == {"file": name, "studies": [f"{BASE}#1"]}
    assert report(tmp_path, BASE) == 0
    mine = tmp_path / "mine.html"
    for content in ("", "mine", MARK[:-2]):
        mine.write_text(content)
        assert report(tmp_path, BASE, "--out", str(mine)) == 2
        assert "give another path, or --force" in capsys.readouterr().err
        assert mine.read_text() == content
    assert report(tmp_path, BASE, "--out", str(mine), "--force") == 0
    assert mine.read_text().startswith(MARK)
    for nofile in (str(tmp_path), "/dev/null"):
        assert report(tmp_path, BASE, "--out", nofile, "--force") == 2
        assert "is no file" in capsys.readouterr().err
    assert report(tmp_path, BASE, "--out", " ") == 2
    for unwritable in (str(mine / "below"), "x" * 300):
        assert report(tmp_path, BASE, "--out", unwritable) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not list(tmp_path.glob(".*tmp"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there are no studies yet"),
        (Path.mkdir, "is not a file"),
        (lambda path: path.write_text("mine"), "a file of something else"),
        (lambda path: path.write_text('{"op_code":0}\n' * 2), "the journal is damaged"),
    ],
    ids=["absent", "folder", "other", "damaged"],
)
def test_a_storage_that_cannot_be_read(
    tmp_path: Path,
    make: Callable[[Path], object],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "journal"
    make(path)
    before = path.read_text() if path.is_file() else None
    for words in ([], ["attend"]):
        assert report(tmp_path, *words) == 2
        assert message in capsys.readouterr().err
    assert (path.read_text() if path.is_file() else None) == before
    assert list(tmp_path.iterdir()) == [path] * path.exists()


def test_reading_changes_no_byte(tmp_path: Path, storage: BaseStorage) -> None:
    timed(open_study(storage, BASE, resume=False).study, 2)
    path = tmp_path / "journal"
    with path.open("a") as file:
        file.write('{"op_code":4')  # a record that its writer has not finished
    before = path.read_bytes()
    path.chmod(0o444)
    assert report(tmp_path, BASE) == 0
    assert path.read_bytes() == before


def test_a_database_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "studies.db"
    assert main(["report", "--storage", f"sqlite:///{path}"]) == 2
    assert capsys.readouterr().err.count("--storage") == 1
    assert not path.exists()
    timed(open_study(open_storage(f"sqlite:///{path}"), BASE, resume=False).study, 1)
    assert main(["report", "--storage", f"sqlite:///{path}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["study"] == f"{BASE}#1"
    for bad in ("", "nonsense://x"):
        assert main(["report", "--storage", bad]) == 2


def test_by_default_the_devices_own_journal_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tune(tmp_path, storage=None)
    capsys.readouterr()
    assert main(["report", "--device", "cpu", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    name = StudyName.parse(row["study"])
    assert name is not None
    assert default_journal(name.device).is_file()
    assert (name.kernel, name.shape, name.run) == ("landmark_grad", "probe", 1)
    assert main(["report", "--device", "tpu"]) == 2


def test_optuna_opens_such_a_study_itself(tmp_path: Path) -> None:
    tune(tmp_path)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    plain = optuna.storages.JournalStorage(backend)
    (name,) = optuna.get_all_study_names(plain)
    study = optuna.load_study(study_name=name, storage=plain)
    assert study.user_attrs["done"]["result"]["kernel"] == "landmark_grad"
    assert study.best_value == pytest.approx(0.0)


def test_a_browser_shows_the_page(tmp_path: Path, storage: BaseStorage) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on PATH")
    timed(open_study(storage, BASE, resume=False).study, 3)
    page(tmp_path, BASE)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run(
        [browser, *flags, "--dump-dom", (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for name in SECTIONS:
        assert f'id="study-1-{name}"' in done.stdout


@pytest.mark.parametrize(
    "name",
    ["", "x", "a/b/c/d/e", "a/b/c/d/e#", "a/b/c/d/e#01", "a/b/c/d#1", "a//c/d/e#1", f"{BASE}#²"],
)
def test_names_that_are_not_the_tuners(name: str) -> None:
    assert StudyName.parse(name) is None


def test_a_name_says_what_it_is_of() -> None:
    name = StudyName.parse(f"{BASE}#12")
    assert name == StudyName("attend", "gpu", "a8", "local", "0123456789ab", 12)
    assert str(name) == f"{BASE}#12"
