"""The transformer in scikit-learn's own tools."""

from __future__ import annotations

import pickle

import numpy
import pytest

from leafkit.errors import InputError, OptionError
from tests.integrations.conftest import QUERY, STUDENT

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from leafkit.integrations.sklearn import StudentVectors

pytestmark = pytest.mark.slow
TEXTS = ["unpack an archive", "compress a folder", "list open ports", "show network routes"] * 2
LABELS = ["files", "files", "network", "network"] * 2


def test_the_block_of_the_page_runs(page):
    assert page("sklearn")["printed"] == ["['files']"]


def test_the_vectors_are_the_students(encoder):
    numpy.testing.assert_array_equal(StudentVectors(STUDENT).transform([QUERY]), encoder.encode([QUERY], "query"))
    documents = StudentVectors(STUDENT, role="document").fit_transform(numpy.array(TEXTS))
    numpy.testing.assert_array_equal(documents, encoder.encode(TEXTS, "document"))


def test_a_clone_a_pickle_and_set_params_keep_parameters_alone(encoder):
    fitted = StudentVectors(STUDENT, threads=2).fit(TEXTS)
    assert clone(fitted).get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    assert "_encoder" not in vars(again)
    numpy.testing.assert_array_equal(again.transform([QUERY]), fitted.transform([QUERY]))
    changed = fitted.set_params(role="document").transform([QUERY])
    numpy.testing.assert_array_equal(changed, encoder.encode([QUERY], "document"))


def test_a_grid_search_over_its_parameters_runs():
    model = make_pipeline(StudentVectors(STUDENT), LogisticRegression())
    found = GridSearchCV(model, {"studentvectors__role": ["query", "document"]}, cv=2).fit(TEXTS, LABELS)
    assert found.best_estimator_.predict(["extract a zip file"]).tolist() == ["files"]


def test_the_features_have_names_in_a_frame():
    frame = StudentVectors(STUDENT).set_output(transform="pandas").fit_transform(TEXTS[:2])
    assert frame.shape == (2, 384)
    assert list(frame)[:2] == ["studentvectors0", "studentvectors1"]


@pytest.mark.parametrize("texts", ["a text", numpy.array([["a", "b"]])])
def test_anything_but_a_column_of_texts_is_refused(texts):
    with pytest.raises(OptionError, match="expected a list or one column of texts"):
        StudentVectors(STUDENT).fit_transform(texts)


def test_a_student_that_is_absent_is_refused_by_fit():
    with pytest.raises(InputError, match="absent"):
        StudentVectors("absent").fit(TEXTS)
