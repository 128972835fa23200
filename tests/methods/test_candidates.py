"""Candidate lists: which documents they hold, what a text chooses among, and which rows are reserved."""

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.anchors import fit_anchors
from leafkit.methods.candidates import (
    DOCUMENTS,
    check_lists,
    check_reserved,
    choices,
    document_rows,
    draw_reserved,
    fit_candidates,
    gold_cross_entropy,
    listed_cosines,
    mine,
    nearest,
    own_reserved,
)


def unit(rows, dim, seed):
    vectors = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=-1)


def rival_list(query, documents, answers, count):
    """The positions that a list should hold, by sorting in Python: answers first, then the others."""
    scores = (documents @ query).tolist()
    order = sorted(range(len(documents)), key=lambda place: -scores[place])
    first = [place for place in order if place in answers][: count // 2]
    return first, [place for place in order if place not in answers][: count - len(first)]


def test_cosines_of_lists_are_those_of_all_documents_at_their_places():
    queries, documents = unit(300, 6, 0), unit(40, 6, 1)
    lists = torch.randint(40, (300, 5), generator=torch.Generator().manual_seed(2))
    expected = (queries @ documents.T).gather(1, lists)
    torch.testing.assert_close(listed_cosines(queries, documents, lists), expected)


def test_a_list_holds_the_best_answers_and_the_most_similar_other_documents():
    queries, documents = unit(300, 6, 0), unit(40, 6, 1)
    draw = numpy.random.default_rng(0)
    pairs = torch.from_numpy(numpy.unique(draw.integers(0, (300, 40), (900, 2)), axis=0))
    lists, gold = mine(queries, documents, pairs, 8)
    for line, query in enumerate(queries):
        answers = set(pairs[pairs[:, 0] == line, 1].tolist())
        first, others = rival_list(query, documents, answers, 8)
        assert set(lists[line, gold[line]].tolist()) == set(first)
        assert lists[line, ~gold[line]].tolist() == others


def test_where_answers_are_all_there_is_they_are_never_negatives():
    lists, gold = mine(unit(1, 4, 0), unit(4, 4, 1), torch.tensor([[0, 0], [0, 1], [0, 2]]), 4)
    assert sorted(lists[0].tolist()) == [0, 1, 2, 3]
    assert lists[0, ~gold[0]].tolist() == [3]


def test_the_students_own_list_is_a_search_in_the_teachers_documents():
    queries, documents = unit(300, 6, 0), unit(40, 6, 1)
    expected = (queries @ documents.T).argsort(dim=1, descending=True)[:, :5]
    assert torch.equal(nearest(queries, documents, 5), expected)


def test_logits_are_cosines_with_the_teachers_documents_of_the_own_list(make_setting):
    setting = make_setting()
    candidates = fit_candidates(setting, 6)
    rows = torch.tensor([6, 0, 12])
    lines, listed = candidates.lines(rows)
    assert listed.all()
    vectors = unit(3, setting.dim, 4)
    logits = candidates.logits(3 * vectors, candidates.lists[lines])
    documents = document_rows(setting)
    for row, line in enumerate(lines.tolist()):
        of_list = setting.targets(documents[candidates.lists[line].numpy()])
        expected = of_list @ vectors[row].numpy() / float(candidates.temperature)
        assert numpy.allclose(logits[row].numpy(), expected, atol=1e-4)
        assert documents[candidates.lists[line, candidates.gold[line]].numpy()] == rows[row] + 1


def test_the_teachers_largest_probability_in_a_list_is_one_half_on_average(make_setting):
    setting = make_setting()
    candidates = fit_candidates(setting, 6)
    queries = numpy.unique(setting.pairs[:, 0])
    logits = candidates.logits(torch.from_numpy(setting.targets(queries)), candidates.lists)
    assert float(logits.softmax(-1).amax(-1).mean()) == pytest.approx(0.5, abs=1e-3)


def test_documents_are_those_of_the_role_and_of_all_pairs(make_setting, monkeypatch):
    setting = make_setting(roles=(numpy.arange(120) % 4 == 3).astype(numpy.int64))
    expected = sorted({*range(3, 120, 4), *setting.pairs[:, 1].tolist()})
    assert document_rows(setting).tolist() == expected
    assert len(expected) < DOCUMENTS
    monkeypatch.setattr("leafkit.methods.candidates.DOCUMENTS", 3)
    some = document_rows(setting)
    assert set(setting.pairs[:, 1]) <= set(some.tolist())
    assert len(some) <= len(set(setting.pairs[:, 1])) + 3


def test_choices_of_lists_mark_the_answers_and_the_texts_without_a_list(make_setting):
    setting = make_setting()
    candidates = fit_candidates(setting, 6)
    asked = choices(candidates, torch.tensor([0, 1, 6]), torch.tensor([2, 2, 2]))
    assert asked.listed.tolist() == asked.known.tolist() == [True, False, True]
    assert asked.gold.sum(dim=1).tolist() == [1, 0, 1]
    vectors = unit(3, setting.dim, 5)
    lines = candidates.lines(torch.tensor([0, 6]))[0]
    assert torch.equal(asked.logits(vectors)[[0, 2]], candidates.logits(vectors[[0, 2]], candidates.lists[lines]))


def test_choices_of_classes_mark_the_class_and_know_nothing_of_unlabelled_texts(make_setting):
    anchors = fit_anchors(make_setting(), "labels", 0)
    asked = choices(anchors, torch.tensor([0, 1, 2]), torch.tensor([3, -1, 0]))
    assert asked.listed.all()
    assert asked.gold.long().tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert asked.known.tolist() == [True, False, True]


def test_gold_cross_entropy_of_one_answer_is_cross_entropy_and_of_none_zero():
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    gold = torch.nn.functional.one_hot(torch.tensor([1, 4, 0]), 5).bool()
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([1, 4, 0]), reduction="none")
    assert torch.allclose(gold_cross_entropy(logits, gold), expected)
    two = gold.clone()
    two[0, 3] = True
    other = torch.nn.functional.cross_entropy(logits[:1], torch.tensor([3]))
    assert torch.allclose(gold_cross_entropy(logits, two)[0], (expected[0] + other) / 2)
    assert not gold_cross_entropy(logits, torch.zeros_like(gold)).any()


def test_reserved_rows_leave_each_class_a_text_and_are_drawn_again_from_the_seed(make_setting):
    setting = make_setting(labels=numpy.where(numpy.arange(120) < 100, 0, numpy.arange(120) - 100))
    rows = draw_reserved(setting, 110, pairs=False)
    assert len(rows) == 100
    assert set(numpy.delete(setting.labels, rows)) == set(setting.labels)
    assert numpy.array_equal(draw_reserved(setting, 20, pairs=False), draw_reserved(setting, 20, pairs=False))
    assert not numpy.array_equal(
        draw_reserved(setting, 20, pairs=False), draw_reserved(make_setting(seed=1), 20, pairs=False)
    )


def test_reserved_queries_have_pairs_and_only_told_rows_are_own(make_setting):
    setting = make_setting(reserved=numpy.array([0, 1, 6]))
    assert set(draw_reserved(setting, 9, pairs=True)) <= set(setting.pairs[:, 0])
    assert own_reserved(setting, pairs=True).tolist() == [0, 6]
    hidden = make_setting(reserved=numpy.array([0, 1, 6]), labels=numpy.where(numpy.arange(120) == 1, -1, 0))
    assert own_reserved(hidden, pairs=False).tolist() == [0, 6]


def test_lists_that_cannot_be_made_are_refused(make_setting):
    with pytest.raises(OptionError, match=r"pld needs pairs, but no training query has a training document"):
        check_lists(make_setting(pairs=numpy.zeros((0, 2), numpy.int64)), 8, "pld:count")
    with pytest.raises(OptionError, match=r"first:count is 61; expected 2 to 60, the number of documents"):
        check_lists(make_setting(), 61, "first:count")
    with pytest.raises(OptionError, match=r"candidates:count is 61; expected 2 to 60"):
        fit_candidates(make_setting(), 61)
    check_lists(make_setting(), 60, "first:count")


def test_a_reserve_of_more_than_half_is_refused(make_setting):
    check_reserved(make_setting(), 10, "tgeo:validation", pairs=True)
    with pytest.raises(OptionError, match=r"tgeo:validation is 11; expected at most 10, half of the training queries"):
        check_reserved(make_setting(), 11, "tgeo:validation", pairs=True)
    with pytest.raises(OptionError, match=r"is 61; expected at most 60, half of the training texts with a label"):
        check_reserved(make_setting(), 61, "tgeo:validation", pairs=False)
