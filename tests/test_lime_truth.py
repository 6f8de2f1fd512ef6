"""How much of the positive weight lies where a drawn face carries its expression: by hand, and for a real network."""

import numpy as np
import pytest
from tiny_faces import write_split

from benchmarks import lime_truth
from fer_tasks import training
from fer_tasks.drawn_face import draw_face
from fer_tasks.explained_network import ExplainedNetwork
from fer_tasks.face_regions import grid_segments
from fer_tasks.initial_weights import PRETRAINED
from fer_tasks.lime_surrogate import fit
from fer_tasks.lime_truth import chance, share_inside
from fer_tasks.model import load_model
from fer_tasks.neighbourhood import Neighbourhood
from fer_tasks.run_directory import RunDirectory
from fer_tasks.sampling_designs import draw_masks
from fer_tasks.settings import RunSettings


def test_weight_is_spread_evenly_over_its_region():
    segments = grid_segments(4)
    mask = np.zeros((48, 48), np.bool_)
    mask[:12, :6] = True  # half of region 0
    mask[:12, 12:24] = True  # all of region 1
    weights = np.zeros(16)
    weights[[0, 1, 2]] = 0.2, 0.1, 0.1
    assert share_inside(weights, segments, mask) == pytest.approx(0.5)
    weights[5] = -3.0  # what speaks against the emotion does not count
    assert share_inside(weights, segments, mask) == pytest.approx(0.5)
    assert share_inside(np.full(16, 0.1), segments, mask) == pytest.approx(chance(mask))
    assert chance(mask) == 216 / 2304
    assert share_inside(-np.ones(16), segments, mask) == 0.0


def test_the_explanations_of_a_real_network_lie_where_the_expression_is():
    """Happy and surprised drawn faces that the pretrained network, which never saw one, takes for what they are.

    A guard against regressions (2.0 times chance was measured); the aim of twice chance is held by the slow test.
    """
    network, settings = ExplainedNetwork(load_model(PRETRAINED / "model.keras")), RunSettings()
    shares, chances = [], []
    for seed, emotion in ((seed, emotion) for seed in range(8) for emotion in (3, 5)):
        drawn = draw_face(emotion, np.random.default_rng([emotion, seed]))
        around = Neighbourhood.of(drawn.pixels / np.float32(255), network, settings)
        masks = draw_masks("hadamard", 256, around.centres, seed=0)
        probabilities = around.ask(masks)
        if probabilities[0].argmax() != emotion:
            continue
        weights = fit(masks, probabilities, kernel_width=0.25).weights[emotion]
        shares.append(share_inside(weights, around.segments, drawn.mask))
        chances.append(chance(drawn.mask))
    assert len(shares) >= 5
    assert np.mean(shares) > 1.7 * np.mean(chances)


@pytest.mark.slow
def test_a_network_of_the_sample_is_explained_twice_as_truly_as_by_chance_and_more_than_by_stock_lime(tmp_path):
    """It is trained here, on other faces; docs/explanations.md has the figures of more networks."""
    run_dir = RunDirectory(tmp_path / "run")
    RunSettings.from_params({"dataset": "sample", "seed": 21}).save(run_dir)
    random = np.random.default_rng(21)
    for split, count in (("train", 735), ("validation", 105)):
        faces = [draw_face(n % 7, random).pixels for n in range(count)]
        write_split(run_dir, split, [(n, n % 7, face) for n, face in enumerate(faces)])
    training.run(run_dir)
    found = lime_truth.measure(run_dir.root, [draw_face(n % 6, np.random.default_rng([22, n])) for n in range(30)])
    assert found["inside_to_chance"] >= 2.0
    assert found["inside_to_stock"] > 1.0
