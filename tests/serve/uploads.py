"""Pictures that are damaged, are something else, or come in a form; no schema says how to make them."""

import io
import struct
import zlib

from hypothesis import strategies as st
from PIL import Image

KINDS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
OTHERS = ["GIF", "BMP", "TIFF", "PPM", "ICO"]
MODES = {"JPEG": ["RGB", "L", "CMYK"], "PNG": ["RGB", "L", "LA", "RGBA", "P", "1", "I;16"], "WEBP": ["RGB", "RGBA"]}
TYPES = [
    "image/gif",
    "image/svg+xml",
    "text/html",
    "application/octet-stream",
    "application/json",
    "image/",
    "image",
    "",
]
TYPES += [
    "IMAGE/PNG",
    "image/png; q=1",
    "image/jpeg;charset=\xff",
    "image/png, image/jpeg",
    "../image/png",
    "\x00",
    "x" * 5000,
]
FILES = [
    "me.png",
    "../../etc/passwd",
    "..\\..\\x",
    "/etc/passwd",
    "a\x00.png",
    "\u202egnp.exe",
    "é😀.jpg",
    "",
    "." * 300,
]
FILES += ['"; filename="x', "\r\nX-Injected: 1", "<img src=x onerror=alert(1)>.png", "CON", "a" * 5000]


def content(mode, kind, size=(12, 9), **options):
    """A picture as bytes."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image = image.convert("L").convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


WHOLE = [(f"image/{kind.lower()}", content(mode, kind)) for kind, modes in MODES.items() for mode in modes]
WHOLE += [("image/gif" if kind == "GIF" else "image/x-other", content("RGB", kind)) for kind in OTHERS]
WHOLE += [("image/png", content("RGB", "PNG", size)) for size in ((1, 1), (1, 4000), (4000, 1))]
CHUNKS = [
    b"zTXt",
    b"iTXt",
    b"tEXt",
    b"iCCP",
    b"eXIf",
    b"tRNS",
    b"PLTE",
    b"gAMA",
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"IHDR",
    b"IDAT",
    b"IEND",
]
CHUNKS += [b"\x00\x00\x00\x00", b"pHYs", b"sBIT"]
BOMB = zlib.compress(bytes(4_000_000))
INSIDES = [
    b"",
    b"\x00",
    b"Comment\x00\x00" + BOMB,
    b"icc\x00\x00" + BOMB,
    b"Exif\x00\x00MM\x00*\xff\xff\xff\xff",
    b"II*\x00\x08\x00\x00\x00" * 9,
]
INSIDES += [struct.pack(">IIBBBBB", 4000, 4000, 16, 6, 0, 0, 1), struct.pack(">II", 2**31 - 1, 2**31 - 1), BOMB]


def chunk(name, inside):
    """A chunk of a PNG, whose checksum is right."""
    return struct.pack(">I", len(inside)) + name + inside + struct.pack(">I", zlib.crc32(name + inside))


def mended(png):
    """The PNG with right checksums, so that what was changed is looked at."""
    out, at = png[:8], 8
    while at + 8 <= len(png):
        size = struct.unpack(">I", png[at : at + 4])[0]
        out += chunk(png[at + 4 : at + 8], png[at + 8 : at + 8 + size])
        at += size + 12
    return out


@st.composite
def damaged(draw, whole):
    """Some bytes changed, left out, repeated or put in."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at, change = draw(st.integers(0, len(content))), draw(st.sampled_from(["cut", "set", "drop", "put", "repeat"]))
        if change == "cut":
            del content[at:]
        elif change == "set" and at < len(content):
            content[at] = draw(st.integers(0, 255))
        elif change == "drop":
            del content[at : at + draw(st.integers(1, 40))]
        elif change == "put":
            content[at:at] = draw(st.binary(max_size=40))
        elif change == "repeat":
            content[at:at] = content[: draw(st.integers(0, 100))]
    return bytes(content)


@st.composite
def pictures(draw):
    """Content type, body, and whether the picture is whole and of that type."""
    kind, whole = draw(st.sampled_from(WHOLE))
    how = draw(st.sampled_from(["whole", "damaged", "damaged", "mended", "chunk", "other"]))
    if how in ("mended", "chunk") and kind != "image/png":
        how = "damaged"
    if how == "damaged":
        return kind, draw(damaged(whole)), False
    if how == "mended":
        return kind, mended(draw(damaged(whole))), False
    if how == "chunk":
        put = chunk(draw(st.sampled_from(CHUNKS)), draw(st.sampled_from(INSIDES) | st.binary(max_size=30)))
        at = draw(st.sampled_from([8, 33, len(whole) - 12]))
        return kind, whole[:at] + put + whole[at:], False
    if how == "other":
        said = draw(st.sampled_from([*KINDS, *TYPES]) | st.text(st.characters(max_codepoint=255), max_size=20))
        return said, draw(st.just(whole) | st.binary(max_size=100)), False
    return kind, whole, kind in KINDS


@st.composite
def forms(draw):
    """A multipart form, well or badly made: content type and body."""
    boundary = draw(st.sampled_from(["b", "-" * 70, "a b", "", "\u00ff", "x" * 300]))
    body = draw(st.sampled_from([b"", b"preamble\r\n"]))
    for name in draw(st.lists(st.sampled_from(FILES), max_size=4)):
        field = draw(st.sampled_from(["file", "", "people", "a[]", "__proto__"]))
        head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        head += f"Content-Type: {draw(st.sampled_from([*KINDS, *TYPES]))}\r\n"
        head = draw(st.sampled_from([head, head, "", head.replace("\r\n", "\n"), head * 50]))
        inside = draw(st.sampled_from(WHOLE).map(lambda one: one[1]) | st.binary(max_size=50))
        body += b"--" + boundary.encode("utf-8") + b"\r\n" + head.encode("utf-8") + b"\r\n" + inside + b"\r\n"
    body += draw(st.sampled_from([b"--" + boundary.encode("utf-8") + b"--\r\n", b""]))
    said = draw(st.sampled_from([f"multipart/form-data; boundary={boundary}", "multipart/form-data", *KINDS]))
    return said, body
