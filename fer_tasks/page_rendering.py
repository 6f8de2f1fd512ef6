"""Pages as HTML: values of a dataclass laid out by a Jinja template. Light, since Airflow's API server renders too."""

from pathlib import Path
from typing import Any

from fer_tasks.errors import ReportError
from fer_tasks.report_text import FILTERS
from fer_tasks.visible_text import visible

MAX_BYTES = 3_000_000


def render(page: object, template: str = "report.html.j2") -> str:
    """A page as HTML, by the template of its kind. Raises ReportError when it would be larger than 3 MB."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fer_tasks"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    html = environment.get_template(template).render(page=page)
    if len(html.encode(errors="backslashreplace")) > MAX_BYTES:
        raise ReportError(f"The report would have {len(html):,} bytes, at most {MAX_BYTES:,} are allowed.")
    return html


def _shown(value: Any) -> Any:
    """What stands in a page for a value, before it is escaped; what a macro has drawn (Markup) has been here before."""
    return visible(value) if type(value) is str else value


def template_text(name: str) -> str:
    """A file of templates/ as it is, such as a style sheet."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
