"""How the report and the gate's sentences write numbers, times and names; the template's filters."""

from datetime import datetime

from fer_tasks.report_page import ScaleRow

UNKNOWN = "–"


def percent(share: float | None, digits: int = 1) -> str:
    """0.7124 -> `71.2%`, with a real minus; a dash for None."""
    return UNKNOWN if share is None else f"{share * 100:.{digits}f}%".replace("-", "−")


def grouped(number: float) -> str:
    """28709 -> `28,709`."""
    return f"{number:,}"


def signed(number: float) -> str:
    """Three decimals with a sign, the minus being a real one."""
    return f"{number:+.3f}".replace("-", "−")


def signed_points(share: float) -> str:
    """-0.0123 -> `−1.2`, in percentage points."""
    return f"{share * 100:+.1f}".replace("-", "−")


def points(share: float) -> str:
    """-0.0123 -> `−1.2 points`."""
    return f"{signed_points(share)} points"


def decimal(number: float | None, digits: int = 3) -> str:
    """-0.25 -> `−0.250`; a dash for None."""
    return UNKNOWN if number is None else f"{number:.{digits}f}".replace("-", "−")


def duration(seconds: float | None) -> str:
    """4.31 -> `4.3 s`, 75 -> `1 min 15 s`, 7300 -> `2 h 2 min`; a dash for None."""
    if seconds is None:
        return UNKNOWN
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(iso: str) -> str:
    """`2026-11-22T19:35:01+00:00` -> `2026-11-22 19:35:01 UTC`; anything else stays as it is."""
    try:
        return datetime.fromisoformat(iso).strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    except ValueError:
        return iso


def title(name: str) -> str:
    """`duplicate_groups` -> `Duplicate groups`."""
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def interval(row: ScaleRow) -> str:
    """The range of a row of the accuracy scale: `68.9–71.9%`."""
    return UNKNOWN if row.low is None or row.high is None else f"{row.low * 100:.1f}–{row.high * 100:.1f}%"


FILTERS = {
    "percent": percent,
    "grouped": grouped,
    "signed": signed,
    "decimal": decimal,
    "duration": duration,
    "moment": moment,
    "interval": interval,
}
