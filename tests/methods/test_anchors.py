"""Anchors: their centres, their temperature, and the classes of texts."""

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.anchors import fit_anchors, fit_temperature


def test_the_teachers_largest_probability_averages_one_half(make_setting):
    setting = make_setting()
    anchors = fit_anchors(setting, "clusters", 16)
    sure = anchors.logits(torch.from_numpy(setting.targets(numpy.arange(120)))).softmax(dim=-1).amax(dim=-1)
    assert float(sure.mean()) == pytest.approx(0.5, abs=0.01)
    assert torch.allclose(anchors.centres.norm(dim=-1), torch.ones(16))


def test_the_centre_of_a_class_is_its_mean(make_setting):
    corners = numpy.eye(8, dtype=numpy.float32)[:4]
    anchors = fit_anchors(make_setting(targets=lambda rows: corners[rows % 4]), "labels", 2)
    assert torch.allclose(anchors.centres, torch.from_numpy(corners))


def test_k_means_centres_are_nearer_to_the_texts_than_random_texts(make_setting):
    setting = make_setting()
    vectors = torch.from_numpy(setting.targets(numpy.arange(120)))
    centres = {kind: fit_anchors(setting, kind, 8).centres for kind in ("clusters", "texts")}
    nearness = {kind: (vectors @ found.T).amax(dim=-1).mean() for kind, found in centres.items()}
    assert nearness["clusters"] > nearness["texts"]


def test_the_class_of_a_text_is_its_label_or_the_nearest_anchor(make_setting, make_batch):
    setting = make_setting()
    anchors = fit_anchors(setting, "labels", 2)
    batch = make_batch(labels=torch.tensor([3, -1, 2, 1, 0, -1, 2, 3]))
    nearest = anchors.logits(batch.teacher).argmax(dim=-1)
    assert torch.equal(
        anchors.classes(batch.teacher, batch.labels), torch.where(batch.labels >= 0, batch.labels, nearest)
    )


def test_with_clusters_the_class_is_the_nearest_centre(make_setting, make_batch):
    anchors, batch = fit_anchors(make_setting(), "clusters", 6), make_batch()
    assert torch.equal(anchors.classes(batch.teacher, batch.labels), (batch.teacher @ anchors.centres.T).argmax(dim=-1))


def test_the_same_seed_gives_the_same_anchors(make_setting):
    one, other = (fit_anchors(make_setting(), "clusters", 6) for _ in range(2))
    assert torch.equal(one.centres, other.centres)
    assert not torch.equal(one.centres, fit_anchors(make_setting(seed=1), "clusters", 6).centres)


@pytest.mark.parametrize(
    ("kind", "count", "error"),
    [
        ("clusters", 1, "count is 1; expected 2 to 120 anchors"),
        ("texts", 121, "count is 121; expected 2 to 120 anchors"),
        ("stars", 4, "anchors is 'stars'; expected clusters, labels, texts"),
    ],
)
def test_invalid_anchors_are_refused(kind, count, error, make_setting):
    with pytest.raises(OptionError, match=error):
        fit_anchors(make_setting(), kind, count)


def test_classes_need_labels(make_setting):
    with pytest.raises(OptionError, match="anchors=labels needs texts of at least two classes"):
        fit_anchors(make_setting(labels=numpy.full(120, -1)), "labels", 4)


@pytest.mark.parametrize(("count", "confidence"), [(2, 0.75), (3, 0.5), (8, 0.5)])
def test_the_teacher_is_surer_than_chance_for_few_classes_too(count, confidence):
    cosines = torch.rand(500, count, generator=torch.Generator().manual_seed(0))
    largest = torch.softmax(cosines / fit_temperature(cosines), dim=-1).amax(dim=-1)
    assert float(largest.mean()) == pytest.approx(confidence, abs=1e-3)
