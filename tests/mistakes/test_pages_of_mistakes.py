"""Mistakes as pictures: the HTML page, the grid, TensorBoard."""

from __future__ import annotations

import builtins
import io
import re
import struct
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from diagnose.errors import MistakesError
from diagnose.mistakes import Mistakes, mine_mistakes
from diagnose.mistakes._grid import NothingToDrawError, _joined, grid, joined
from diagnose.mistakes._page import MOST_BYTES, page
from diagnose.mistakes._png import decoded, encoded, lettered, resized
from diagnose.mistakes._showing import as_pixels, scale_of, shown

NASTY = "<script>alert('x')</script>&\x1b[31m"


class Parsed(HTMLParser):
    """Tags of a page, and whether they are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def mined(inputs: torch.Tensor, *, classes: tuple[str, ...] = ("a", "b", "c"), **options: Any) -> Mistakes:
    torch.manual_seed(0)
    targets = torch.randint(0, len(classes), (len(inputs),))
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(len(classes)))
    with torch.no_grad():
        model(inputs[:2].float())
    return mine_mistakes(model, TensorDataset(inputs, targets), classes=list(classes), progress=False, **options)


@pytest.fixture(scope="module")
def pictures() -> Mistakes:
    torch.manual_seed(1)
    inputs = torch.rand(200, 3, 20, 20)
    inputs[3:5] = 0.5
    inputs[8] = inputs[9]
    return mined(inputs, classes=(NASTY, "b", "c"))


# -- the page --------------------------------------------------------------------------------------------


def test_the_page_is_whole_and_runs_nothing(pictures: Mistakes) -> None:
    text = page(pictures)
    parsed = Parsed(text)
    assert not {"script", "link", "iframe", "object"} & set(parsed.seen)
    assert "<script" not in text and "\x1b" not in text and "&lt;script&gt;" in text
    assert all(
        value and value.startswith("data:image/png;base64,") for name, value in parsed.attributes if name == "src"
    )
    assert not any(name.startswith("on") or name == "href" for name, _ in parsed.attributes)
    for title in (
        "What was found",
        "Mistakes that the model is most sure of",
        "Suspect labels",
        "Taken for another class",
    ):
        assert f"<h2>{title}</h2>" in text
    assert "blank-images" in text and "prefers-color-scheme:dark" in text


def test_the_page_is_bounded_and_says_what_it_leaves_out(pictures: Mistakes) -> None:
    text = page(pictures, most_thumbnails=10)
    assert text.count("<img") == 10 and "more pictures were left out" in text
    small = page(pictures, most_bytes=40_000)
    without = re.sub(r"<img[^>]*>", "", small)
    assert len(small) - len(without) <= 40_000


def test_the_page_of_large_data_stays_small() -> None:
    noise = torch.randint(0, 256, (300, 3, 200, 200), dtype=torch.uint8)
    targets = torch.randint(0, 3, (300,))
    names = tuple(f"class {'x' * 5000} {n}" for n in range(3))

    def predict(batch: torch.Tensor) -> torch.Tensor:
        return batch.float().mean((2, 3)) - 127

    found = mine_mistakes(predict, TensorDataset(noise, targets), classes=list(names), progress=False)
    text = page(replace(found, describe=lambda example: "long " * 10_000))
    assert text.count("<img") > 50
    assert len(text.encode()) < MOST_BYTES + 1_000_000
    Parsed(text)


class Texts(Dataset[Any]):
    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[str, int]:
        return f"text {index} {NASTY}", index % 2


def test_texts_rows_and_tokens_are_shown_as_such() -> None:
    texts = mine_mistakes(
        lambda batch: torch.tensor([[float(len(t)), 20.0] for t in batch]), Texts(), classes=["a", "b"], progress=False
    )
    assert "<pre>text 1 &lt;script&gt;" in page(texts)
    rows = torch.randn(60, 12)
    rows[:, 7] = 1.0
    rows[5, 3] = 1e4
    tabular = page(mined(rows, k=60))
    assert "<mark>column 3 = 1e+04</mark>" in tabular
    embedded = nn.Sequential(nn.EmbeddingBag(50, 8), nn.Linear(8, 2))
    data = TensorDataset(torch.randint(0, 50, (60, 9)), torch.randint(0, 2, (60,)))
    tokens = page(mine_mistakes(embedded, data, progress=False))
    assert re.search(r"<code>\d+( \d+){8}</code>", tokens)


def test_a_describe_that_fails_does_not_cost_the_page(pictures: Mistakes) -> None:
    def describe(example: Any) -> str:
        raise RuntimeError("no <b>text</b>")

    assert "describe failed: RuntimeError: no &lt;b&gt;" in page(replace(pictures, describe=describe))


def test_a_page_without_examples_or_mistakes() -> None:
    model = nn.Linear(2, 2)
    inputs = torch.randn(30, 2)
    targets = model(inputs).argmax(1)
    right = mine_mistakes(model, TensorDataset(inputs, targets), progress=False)
    Parsed(page(right))
    Parsed(page(replace(right, examples=None)))


def test_files_are_written_together(pictures: Mistakes, tmp_path: Path) -> None:
    pictures.save(tmp_path / "out")
    assert {"mistakes.html", "worst.png", "mistakes.json"} <= {path.name for path in (tmp_path / "out").iterdir()}
    mined(torch.randn(30, 4)).save(tmp_path / "rows")
    assert not (tmp_path / "rows" / "worst.png").exists()
    with pytest.raises(MistakesError, match="cannot be written"):
        pictures.page(tmp_path / "no" / "such" / "page.html")
    with pytest.raises(MistakesError, match="cannot be written"):
        pictures.grid(tmp_path / "no" / "grid.png")


# -- pictures --------------------------------------------------------------------------------------------


def test_a_grid_has_a_tile_for_each_example(pictures: Mistakes) -> None:
    sheet = grid(pictures, most=10, tile=40, columns=4)
    words = lettered(40, ["a", "b", ""])
    height = 40 + (0 if words is None else len(words))
    assert sheet.shape == (3 * (height + 6) + 6, 4 * 46 + 6, 3) and sheet.dtype == np.uint8
    with pytest.raises(MistakesError, match="ranking is 'worst', and has to be one of"):
        grid(pictures, "worst")  # type: ignore[arg-type]
    with pytest.raises(NothingToDrawError, match="is a picture"):
        grid(mined(torch.randn(30, 4)))


@pytest.mark.parametrize("count", [1, 3, 7])
def test_our_grid_is_that_of_torchvision(count: int) -> None:
    from tests.support.vision import import_torchvision

    import_torchvision()
    numbers = np.random.default_rng(0)
    tiles = [numbers.integers(0, 256, (9, 7, 3)).astype(np.uint8) for _ in range(count)]
    assert np.array_equal(joined(tiles, 3), _joined(tiles, min(3, count)))


def test_a_png_without_pillow(pictures: Mistakes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.split(".")[0] in ("PIL", "torchvision"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    path = pictures.grid(tmp_path / "grid.png", most=4)
    monkeypatch.undo()
    with pytest.importorskip("PIL.Image").open(path) as image:
        assert image.size == (4 * 102 + 6, 96 + 12)


@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)) | st.tuples(*[st.integers(1, 9)] * 2, st.just(3))
    )
)
def test_a_png_holds_the_pixels(pixels: Any) -> None:
    data = encoded(pixels)
    assert np.array_equal(decoded(data), pixels)
    image = pytest.importorskip("PIL.Image")
    assert np.array_equal(np.asarray(image.open(io.BytesIO(data))), pixels)
    assert struct.unpack(">II", data[16:24]) == (pixels.shape[1], pixels.shape[0])


@given(st.integers(1, 300), st.integers(1, 300))
def test_a_thumbnail_is_no_longer_than_asked(height: int, width: int) -> None:
    small = resized(np.full((height, width, 3), 7, dtype=np.uint8), 80)
    assert max(small.shape[:2]) <= 80 and min(small.shape) >= 1 and (small == 7).all()


CHANGES: dict[str, Any] = {
    "as they are": lambda x: x,
    "bytes": lambda x: (x * 255).astype(np.uint8),
    "0 to 255": lambda x: x * 255,
    "standardised": lambda x: (x - 0.5) / 0.25,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_any_scale_and_number_of_channels_is_shown_alike(change: str, channels: int) -> None:
    numbers = np.random.default_rng(0)
    originals = [numbers.random((12, 12, channels)).astype(np.float32) for _ in range(8)]
    changed = [CHANGES[change](picture) for picture in originals]
    pixels, note = as_pixels(changed[0], scale_of(changed))
    plain = originals[0].mean(axis=2) if channels == 2 else originals[0][:, :, 0]
    assert pixels.shape == (12, 12, 3)
    assert np.abs(pixels[:, :, 0] / 255 - plain).max() < 0.03
    assert ("channels 1 to 3" in note) == (channels > 3) and ("mean of 2" in note) == (channels == 2)


def test_a_picture_of_another_scale_is_shown_by_its_own() -> None:
    numbers = np.random.default_rng(0)
    pictures = [numbers.random((8, 8, 1)).astype(np.float32) for _ in range(9)]
    pictures[0] = pictures[0] * 255
    pictures[1] = np.full_like(pictures[1], np.nan)
    scale = scale_of(pictures)
    pixels, note = as_pixels(pictures[0], scale)
    assert scale.how == "as stored, 0 to 1" and note.startswith("own scale") and pixels.std() > 50
    assert (as_pixels(pictures[1], scale)[0] == 0).all()


def test_what_is_shown_of_an_example() -> None:
    picture, row = torch.rand(3, 16, 16), torch.rand(5)
    for example in ((picture, 3), {"image": picture, "label": 3}, (row, picture, 1), picture, ([picture, row], 2)):
        part = shown(example)
        assert part is not None and part.kind == "picture" and part.values is not None
        assert part.values.shape == (16, 16, 3)
    assert shown(("words", 1)).text == "words"  # type: ignore[union-attr]
    assert shown((row, 1)).kind == "row"  # type: ignore[union-attr]
    assert shown((torch.arange(9), 1)).kind == "tokens"  # type: ignore[union-attr]
    assert shown(None) is None and shown((object(), 1)) is None


# -- TensorBoard -----------------------------------------------------------------------------------------


def test_tensorboard_gets_grids_and_the_text(pictures: Mistakes, tmp_path: Path) -> None:
    pictures.to_tensorboard(tmp_path / "ours", step=7)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "theirs")) as writer:
        pictures.to_tensorboard(writer, step=7)
        writer.add_scalar("still open", 1.0)
    for name in ("ours", "theirs"):
        events = EventAccumulator(str(tmp_path / name), size_guidance={"images": 0, "tensors": 0}).Reload()
        assert "mistakes/confident" in events.Tags()["images"]
        assert events.Images("mistakes/confident")[0].step == 7
        assert "mistakes/text_summary" in events.Tags()["tensors"]


def test_places_and_groups_are_in_the_page_and_in_the_text() -> None:
    torch.manual_seed(0)
    images = torch.rand(12, 1, 8, 10)
    masks = (images[:, 0] > 0.5).long()
    masks[5, 2:6, 3:7] = 1 - masks[5, 2:6, 3:7]

    def model(batch: torch.Tensor) -> torch.Tensor:
        return torch.cat([0.5 - batch, batch - 0.5], 1) * 20

    kind = ["wet", "dry"] * 6
    regions = mine_mistakes(model, (images, masks), classes=["ground", "cell"], metadata={"kind": kind}, progress=False)
    position = regions.confident[0].place
    assert position is not None and regions.scores.shape == (8, 10)
    for text in (str(regions), page(regions)):
        assert "Worst regions" in text and f"({position // 10}, {position % 10})" in text
        assert "16 of 80" in text and "error of places 1.67 %" in text
    inputs = torch.randn(90, 4)
    targets = inputs[:, :3].argmax(1)
    targets[7] = (targets[7] + 1) % 3
    near = mine_mistakes(lambda x: x[:, :3] * 5, (inputs, targets), embeddings=inputs[:, :3], progress=False)
    assert near.neighbours and all("Nearest to examples of another class" in text for text in (str(near), page(near)))


def test_surprising_tokens_are_in_the_page() -> None:
    tokens = torch.randint(0, 4, (80, 12), generator=torch.Generator().manual_seed(0))
    tokens[3] = 2  # a ruler is no empty text

    def model(batch: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(batch, 4).float() * 3

    mistakes = mine_mistakes(model, (tokens[:, :-1], tokens[:, 1:]), classes=["a", "b", "-", "<i>"], progress=False)
    assert mistakes.scores.task == "language-model" and not mistakes.problems
    text = page(mistakes)
    assert "<h2>Most surprising tokens</h2>" in text and "perplexity" in text and "&lt;i&gt;" in text
    Parsed(text)


def test_examples_of_a_problem_are_named_and_a_bad_model_is_no_witness(pictures: Mistakes) -> None:
    lines = str(pictures).splitlines()
    (blank,) = [n for n, line in enumerate(lines) if "blank-images" in line]
    (problem,) = [problem for problem in pictures.problems if problem.code == "blank-images"]
    assert lines[blank + 1].startswith(f"    examples: {problem.ids[0]}")  # type: ignore[attr-defined]
    doubt = "The model itself is wrong"
    assert doubt in str(pictures) and doubt in page(pictures)  # it was never trained
    right = mine_mistakes(lambda x: x, (torch.eye(3).repeat(9, 1), torch.arange(3).repeat(9)), progress=False)
    assert doubt not in str(right)
