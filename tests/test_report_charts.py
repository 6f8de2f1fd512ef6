"""Chart geometry against hand-computed places in the 480 x 250 drawing area (46 left, 14 right, 22 top, 38 bottom)."""

from datetime import UTC, datetime

import pytest

from fer_tasks.report_charts import line_chart, reliability_chart, round_ticks, timeline


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (0.31, 0.72, [0.2, 0.4, 0.6, 0.8]),
        (1.76, 1.95, [1.75, 1.8, 1.85, 1.9, 1.95]),
        (0.0, 12.0, [0.0, 5.0, 10.0, 15.0]),
        (2.0, 2.0, [1.5, 2.0, 2.5]),
    ],
)
def test_round_ticks_enclose(low: float, high: float, ticks: list[float]) -> None:
    assert round_ticks(low, high) == ticks


def chart(train: list[float | None], validation: list[float | None], **changes: object) -> object:
    arguments = {"best_epoch": 2, "resumed_at_epochs": [], "as_percent": True} | changes
    return line_chart("Accuracy", train=train, validation=validation, **arguments)


def test_line_chart_places_points_and_the_chosen_epoch() -> None:
    drawn = chart([0.2, 0.6, 0.8], [0.2, 0.7, 0.4])
    train, validation = drawn.series
    assert train.points == ((46, 212), (256, 85.3), (466, 22))  # ticks 0.2 .. 0.8 over 190 units
    assert validation.points[1] == (256, 53.7)
    assert [tick.text for tick in drawn.y_ticks] == ["20%", "40%", "60%", "80%"]
    assert [(tick.at, tick.text) for tick in drawn.x_ticks] == [(46, "1"), (256, "2"), (466, "3")]
    (best,) = drawn.markers
    assert (best.at, best.text, best.role) == (256, "chosen: 2", "best")
    assert drawn.description.endswith("70% at the chosen epoch 2.")


def test_line_chart_marks_resumed_epochs_and_leaves_out_what_is_no_number() -> None:
    drawn = chart([0.2, None, 0.8], [0.2, float("nan"), 0.4], best_epoch=3, resumed_at_epochs=[2])
    assert [len(series.points) for series in drawn.series] == [2, 2]
    assert [(marker.role, marker.at) for marker in drawn.markers] == [("resumed", 256), ("best", 466)]


def test_line_chart_of_one_epoch_and_of_many() -> None:
    assert chart([0.5], [0.4], best_epoch=1).series[0].points[0][0] == 256
    many = chart([0.5] * 100, [0.4] * 100)
    assert [tick.text for tick in many.x_ticks] == ["1", "20", "40", "60", "80", "100"]
    assert [tick.text for tick in chart([1.75], [1.95], as_percent=False).y_ticks][:2] == ["1.75", "1.80"]


def test_reliability_chart_places_bins() -> None:
    drawn = reliability_chart([(0.5, 0.25, 100), (0.9, 0.9, 25)])
    low, high = drawn.points
    assert (low.x, low.y, low.ideal_y, low.radius) == (256, 164.5, 117, 12)
    assert (high.y, high.radius) == (high.ideal_y, 7.5)
    assert drawn.description == "Accuracy against confidence: 25% at 50% (100 images); 90% at 90% (25 images)"
    assert reliability_chart([]).points == ()


def test_timeline_draws_a_killed_try_up_to_the_next_start() -> None:
    bars = timeline(
        [
            ("start_run", "succeeded", "2026-01-01T00:00:00+00:00", 10.0),
            ("train_model", "killed", "2026-01-01T00:00:20+00:00", None),
            ("train_model", "succeeded", "2026-01-01T00:01:00+00:00", 40.0),
        ],
        now=datetime(2026, 1, 1, 0, 5, tzinfo=UTC),
    )
    assert [(bar.start, bar.length) for bar in bars] == [(0, 10), (20, 40), (60, 40)]
    assert timeline([], now=datetime(2026, 1, 1, tzinfo=UTC)) == ()


def test_timeline_of_a_last_try_without_end_goes_up_to_now() -> None:
    bars = timeline(
        [("train_model", "killed", "2026-01-01T00:00:00+00:00", None)], now=datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    )
    assert [(bar.start, bar.length, bar.seconds) for bar in bars] == [(0, 100, None)]
