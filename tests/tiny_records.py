"""A few records of heartbeats in PhysioNet's formats, for the tests: written value by value."""

SAMPLES = 3600
CODES = {"N": 1, "L": 2, "R": 3, "a": 4, "V": 5, "F": 6, "J": 7, "A": 8, "S": 9, "E": 10, "j": 11,
         "/": 12, "Q": 13, "~": 14, "+": 28, "!": 31, "e": 34, "f": 38}  # fmt: skip
"""The annotations of the database, as ecgcodes.h has them."""

RAMP = [n - 1800 for n in range(SAMPLES)]
FALL = [2000 - n for n in range(SAMPLES)]


def packed(values):
    """Format 212: two values in three bytes."""
    out = bytearray()
    for one, other in zip(values[::2], values[1::2], strict=True):
        one, other = one & 0xFFF, other & 0xFFF
        out += bytes([one & 0xFF, one >> 8 | other >> 8 << 4, other & 0xFF])
    return bytes(out)


def annotated(beats):
    """Annotations of ``(sample, symbol)``, an interval of 1,000 and more as a long one."""
    out, time = bytearray(), 0
    for at, symbol in beats:
        interval, time = at - time, at
        if not 0 <= interval < 1000:
            out += (59 << 10).to_bytes(2, "little")
            out += (interval >> 16 & 0xFFFF).to_bytes(2, "little")
            out += (interval & 0xFFFF).to_bytes(2, "little")
            interval = 0
        out += (CODES[symbol] << 10 | interval).to_bytes(2, "little")
        if symbol == "+":
            out += (63 << 10 | 3).to_bytes(2, "little") + b"(N\0\0"
    return bytes(out) + b"\0\0"


def write(folder, record, beats, leads=("MLII", "V1"), signals=(RAMP, FALL), rate=360):
    """The three files of a record."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{record} {len(leads)} {rate} {SAMPLES}"]
    for lead, values in zip(leads, signals, strict=True):
        total = (sum(values) + 0x8000) % 0x10000 - 0x8000
        lines.append(f"{record}.dat 212 200 11 1024 {values[0]} {total} 0 {lead}")
    (folder / f"{record}.hea").write_text("\n".join([*lines, "# 69 M", ""]))
    both = [value for pair in zip(*signals, strict=True) for value in pair]
    (folder / f"{record}.dat").write_bytes(packed(both))
    (folder / f"{record}.atr").write_bytes(annotated(beats))
