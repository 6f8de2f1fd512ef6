"""Great Expectations run over one table, and its answers as plain records."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fer_tasks.face_expectations import SEVERITIES, SUITE_NAME


@dataclass(frozen=True)
class ExpectationOutcome:
    """One line of the suite's result.

    severity: block, warn or report. unexpected: images that break it, None where it is about the whole set.
    """

    name: str
    description: str
    column: str | None
    severity: str
    passed: bool
    observed: str
    unexpected: int | None


def quiet_great_expectations() -> None:
    """Import it without the hundreds of lines that the import logs; call before anything else imports it."""
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
    import great_expectations

    # sets its own level at import, and tells of a temporary folder
    logging.getLogger(f"{great_expectations.__name__}.data_context.types.base").setLevel(logging.WARNING)


def judge(
    table: pd.DataFrame, expectations: list[Any], data_docs: Path | None, *, suite: str = SUITE_NAME
) -> list[ExpectationOutcome]:
    """Run the suite over `table`, in the order of `expectations`; writes GX's own pages to `data_docs` if given."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("faces").add_dataframe_asset("raw_faces")
    validation = context.validation_definitions.add(
        gx.ValidationDefinition(
            name=suite,
            data=asset.add_batch_definition_whole_dataframe("all"),
            suite=context.suites.add(gx.ExpectationSuite(suite, expectations=expectations)),
        )
    )
    answer = validation.run(
        batch_parameters={"dataframe": table},
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": 20},
    )
    if data_docs is not None:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(data_docs)}
        context.add_data_docs_site("run", {"class_name": "SiteBuilder", "store_backend": store})
        context.build_data_docs(site_names=["run"])
    by_name = {result.expectation_config.meta["name"]: result for result in answer.results}
    return [_outcome(by_name[expectation.meta["name"]]) for expectation in expectations]


def _outcome(result: Any) -> ExpectationOutcome:
    config = result.expectation_config
    unexpected = result.result.get("unexpected_count")
    return ExpectationOutcome(
        name=config.meta["name"],
        description=config.description,
        column=config.kwargs.get("column"),
        severity=SEVERITIES[config.severity.value],
        passed=bool(result.success),
        observed=_observed(result.result, config.kwargs.get("value_set")),
        unexpected=None if unexpected is None else int(unexpected),
    )


def _observed(found: dict[str, Any], value_set: list[Any] | None) -> str:
    """What GX found, in words."""
    if "unexpected_count" in found:
        images, unexpected = found["element_count"] - found.get("missing_count", 0), found["unexpected_count"]
        return f"{unexpected:,} of {images:,} images" + (f" ({unexpected / images:.2%})" if images else "")
    if "partial_missing_list" in found:
        missing = [str(value) for value in value_set or [] if value in found["partial_missing_list"]]
        return f"missing: {', '.join(missing)}" if missing else "all present"
    value = found.get("observed_value")
    return "no image to look at" if value is None or pd.isna(value) else f"{round(float(value), 2):,g}"
