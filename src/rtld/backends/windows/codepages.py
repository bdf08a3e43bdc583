"""Code pages of Windows as codecs: 125x as Windows has them, and which codec a number stands for.

Windows' best-fit tables give the bytes that Python's codecs leave undefined to the control characters of that number
(unicode.org/Public/MAPPINGS/VENDORS/MICSFT/WindowsBestFit).
"""

from __future__ import annotations

import codecs

ANSI = "cp1252-windows"
CP_ACP, CP_OEMCP, CP_MACCP, CP_THREAD_ACP, CP_UTF7, CP_UTF8 = 0, 1, 2, 3, 65000, 65001
#: number -> codec
CODECS = {
    CP_ACP: ANSI, CP_OEMCP: "cp437", CP_THREAD_ACP: ANSI, 437: "cp437", 850: "cp850", 852: "cp852", 866: "cp866",
    874: "cp874", 932: "cp932", 936: "gbk", 949: "cp949", 950: "cp950", 1250: "cp1250-windows", 1251: "cp1251-windows", 1252: ANSI,
    1253: "cp1253-windows", 1254: "cp1254-windows", 1255: "cp1255-windows", 1256: "cp1256-windows", 1257: "cp1257-windows", 1258: "cp1258-windows", 20127: "ascii",
    20866: "koi8-r", 28591: "latin-1", 28592: "iso8859-2", 28605: "iso8859-15", CP_UTF7: "utf-7", CP_UTF8: "utf-8",
}  # fmt: skip
DOUBLE_BYTE = {
    932: ((0x81, 0x9F), (0xE0, 0xFC)),
    936: ((0x81, 0xFE),),
    949: ((0x81, 0xFE),),
    950: ((0x81, 0xFE),),
}


def _table(name: str) -> str:
    decoded = (bytes([byte]).decode(name, "ignore") or chr(byte) for byte in range(256))
    return "".join(decoded)


def _search(name: str) -> codecs.CodecInfo | None:
    name = name.replace("_", "-")
    if not name.endswith("-windows") or not name.startswith("cp125"):
        return None
    decoding = _table(name.removesuffix("-windows"))
    encoding = codecs.charmap_build(decoding)

    def encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
        return codecs.charmap_encode(text, errors, encoding)

    def decode(data: bytes, errors: str = "strict") -> tuple[str, int]:
        return codecs.charmap_decode(bytes(data), errors, decoding)

    return codecs.CodecInfo(encode, decode, name=name)  # type: ignore[arg-type]


codecs.register(_search)
