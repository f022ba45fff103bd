"""The file under the cursor and the bytes of each stage: the reader's verdict is the library's, every control lives without a kernel."""

import zlib

import pytest
import torch
from browsing import called, move_everything, opened, reads_well_on_a_phone, ready
from torch import nn

from qtoolkit.compression import BadFile, LayerRecipe, Recipe, compress, container
from qtoolkit.lab.widgets import FileBytes, Stage, WhereTheBytesGo
from qtoolkit.lab.widgets.bundle import bundle

READER = bundle("file_reader.js") + "export { crc32, varintAt, refusal, harmed }; export const verdict = (data) => refusal(new Uint8Array(data)); export const sum = (data) => crc32(new Uint8Array(data)); export const done = (data, at, harm) => [...harmed(new Uint8Array(data), at, harm)];"
WORDS = {"not a compressed network": "magic", "format version": "version", "its header says": "length", "checksum": "checksum", "ends after": "short", "malformed": "short"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> bytes:
    path, model = tmp_path_factory.mktemp("file") / "net.qtdc", nn.Sequential(nn.Linear(60, 20))
    nn.init.normal_(model[0].weight, generator=torch.Generator().manual_seed(0))
    compress(model, path, Recipe(LayerRecipe(0.2, 3, 4), codebook=torch.float16, bias_bits=8))
    return path.read_bytes()


def _verdict(data: bytes) -> str:
    try:
        container.from_bytes(data)
    except BadFile as error:
        return next(word for part, word in WORDS.items() if part in str(error))
    return ""


def test_the_reader_refuses_for_the_librarys_reasons(page, data):
    flips = [bytes(byte ^ 1 << bit if i == at else byte for i, byte in enumerate(data)) for at in range(len(data)) for bit in (0, 3, 7)]
    files = [data, *flips, *(data[:n] for n in range(len(data))), data + b"\0", data[:10] + bytes([128] * 12), data[:10] + bytes([200, 0]) + data[12:]]
    reasons = called(page, READER, "verdict", [[list(file)] for file in files])
    assert reasons == [_verdict(file) for file in files]
    assert reasons[0] == "" and set(reasons) == {"", *WORDS.values()}


def test_the_checksum_is_zlibs(page, data):
    strings = [b"", b"a", b"123456789", data]
    assert called(page, READER, "sum", [[list(string)] for string in strings]) == [zlib.crc32(string) for string in strings]


def test_what_is_done_to_the_file(page):
    assert called(page, READER, "done", [[[7, 8, 9], 1, harm] for harm in ("nothing", "flip", "cut")]) == [[7, 8, 9], [7, 9, 9], [7]]


STAGES = [Stage("dense", {"layer 1": {"values": 4000, "places": 0}, "biases": {"values": 40, "places": 0}}, 1.2),
          Stage("pruned", {"layer 1": {"values": 400, "places": 60}, "biases": {"values": 40, "places": 0}}, 1.5)]


def test_sums_of_a_stage(page):
    script = bundle("stage_bytes.js") + "export { byLayer, byPart, stageBytes };"
    rows = [[list(row.values()) for row in STAGES[1].rows.values()]]
    assert called(page, script, "byLayer", [rows]) == [[460, 40]]
    assert called(page, script, "byPart", [rows]) == [[440, 60]]
    assert called(page, script, "stageBytes", [rows]) == [STAGES[1].nbytes] == [500]


@pytest.mark.parametrize("make", [lambda: WhereTheBytesGo(STAGES[:1]), lambda: WhereTheBytesGo(STAGES, at=2),
                                  lambda: WhereTheBytesGo([STAGES[0], Stage("other", {"layer 2": {"values": 1, "places": 1}}, 1.0)]),
                                  lambda: WhereTheBytesGo([STAGES[0], Stage("less", {"layer 1": {"values": -1, "places": 0}, "biases": {"values": 1, "places": 0}}, 1.0)])])
def test_what_cannot_be_shown_is_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


def test_a_file_that_is_damaged_or_too_long_is_refused(data):
    with pytest.raises(BadFile, match="checksum"):
        FileBytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ValueError, match="cursor"):
        FileBytes(data, at=len(data))
    with pytest.raises(ValueError, match="at most 1024"):
        FileBytes(data * 20)


@pytest.fixture(scope="module")
def widgets(data):
    return [FileBytes(data, name="a test", at=3), WhereTheBytesGo(STAGES, name="a test")]


def test_every_control_changes_what_is_shown(browser, home):
    with opened(browser, home) as watched:
        assert [move_everything(watched.page, widget) > 3 for widget in ready(watched.page, 2)] == [True, True]
        assert watched.troubles == []


def test_the_words_follow_the_keyboard_and_a_click(browser, home, data):
    with opened(browser, home) as watched:
        widget = ready(watched.page, 2)[0]
        words, slider = widget.locator(".qt-words"), widget.get_by_role("slider")
        slider.focus()
        slider.press("Home")
        assert "field “magic”" in words.inner_text() and "hex 51" in words.inner_text()
        widget.get_by_role("radio", name="flip a bit").check(force=True)
        assert "does not begin with QTDC" in words.inner_text()
        slider.focus()
        slider.press("End")
        assert "checksum does not match" in words.inner_text() and f"Byte {len(data) - 1}" in words.inner_text()
        widget.get_by_role("radio", name="cut the file").check(force=True)
        assert f"{len(data) - 1} bytes are left" in words.inner_text() and "another length" in words.inner_text()
        widget.locator("svg g").nth(4).click()
        assert "field “version”" in words.inner_text() and slider.input_value() == "4"


def test_the_stages_in_words(browser, home):
    with opened(browser, home) as watched:
        widget = ready(watched.page, 2)[1]
        slider = widget.get_by_role("slider")
        slider.focus()
        slider.press("End")
        words = widget.locator(".qt-words").inner_text()
        assert "pruned: 500 bytes, 8.08 times smaller than dense, 1.5 % of the test digits wrong" in words
        assert "values 88 %, places 12 %" in words and "The stage before took 4,040 bytes." in words


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_the_accessibility_checker_and_no_sideways_scroll(browser, home, scheme):
    reads_well_on_a_phone(browser, home, scheme, 2)


def test_a_phone_sees_the_rows_around_the_cursor(browser, home, data):
    with opened(browser, home, width=360) as watched:
        widget = ready(watched.page, 2)[0]
        cells, slider = widget.locator("svg g"), widget.get_by_role("slider")
        assert cells.count() == 14 * 8 < len(data)
        slider.focus()
        slider.press("End")
        assert cells.count() <= 14 * 8 and cells.last.text_content() == f"{data[-1]:02x}"
        assert widget.locator("svg").get_attribute("aria-label").endswith(f"the byte {len(data) - 1} is marked")
