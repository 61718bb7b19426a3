"""Pictures as PNG files: by Pillow when it is installed, else by the standard library alone."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def encoded(pixels: Pixels) -> bytes:
    """The PNG file of a picture, the same bytes whatever is installed.

    Pillow would write smaller files only with filters that thumbnails hardly gain from.

    Args:
        pixels: shape (H, W) or (H, W, 3), H and W at least 1.
    """
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    # Each row begins with the number of its filter: 0, none.
    data = np.concatenate([np.zeros((height, 1), dtype=np.uint8), rows], axis=1).tobytes()
    colour = 0 if pixels.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(data)),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def resized(pixels: Pixels, longest: int) -> Pixels:
    """A picture whose longer side has `longest` pixels: small ones by repeating pixels, large ones by means.

    Small pictures grow by whole factors, so that their pixels stay square and sharp.
    """
    height, width = pixels.shape[:2]
    most = max(height, width)
    if most <= longest:
        factor = max(1, longest // most)
        return pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    size = max(1, round(height * longest / most)), max(1, round(width * longest / most))
    found = pixels.astype(np.float64)
    for axis, parts in enumerate(size):
        edges = np.linspace(0, found.shape[axis], parts + 1).astype(np.int64)[:-1]
        counts = np.diff([*edges.tolist(), found.shape[axis]])
        shape = [1] * found.ndim
        shape[axis] = parts
        found = np.add.reduceat(found, edges, axis=axis) / counts.reshape(shape)
    return np.rint(found).astype(np.uint8)


def lettered(width: int, lines: list[str], *, ink: int = 20, paper: int = 255) -> Pixels | None:
    """Lines of text, of shape (H, width, 3), H the same for as many lines; None without Pillow, which has the letters.

    What is too long is cut, with three dots.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        return None
    font: Any = ImageFont.load_default()
    step = 12
    canvas = Image.new("RGB", (width, step * len(lines) + 2), (paper, paper, paper))
    pen = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        pen.text((1, step * number), _fitting(line, width - 2, pen, font), fill=(ink, ink, ink), font=font)
    return np.asarray(canvas, dtype=np.uint8)


def _fitting(text: str, width: int, pen: Any, font: Any) -> str:
    if pen.textlength(text, font=font) <= width:
        return text
    while text and pen.textlength(text + "...", font=font) > width:
        text = text[:-1]
    return text + "..."


def decoded(data: bytes) -> Pixels:
    """The pixels of a PNG file that `encoded` has written; for tests and for TensorBoard."""
    width, height = struct.unpack(">II", data[16:24])
    channels = 3 if data[25] == 2 else 1
    stream, place = io.BytesIO(), 8
    while place < len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            stream.write(data[place + 8 : place + 8 + size])
        place += size + 12
    rows = np.frombuffer(zlib.decompress(stream.getvalue()), dtype=np.uint8).reshape(height, -1)[:, 1:]
    return rows.reshape(height, width, channels) if channels == 3 else rows
