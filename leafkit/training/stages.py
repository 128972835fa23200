"""The stages of one distillation, in the order in which they happen."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable
from typing import Any

from leafkit.errors import OptionError
from leafkit.files.atomic import check_output_folder
from leafkit.methods.method import Writer
from leafkit.methods.setting import Gather
from leafkit.methods.student_search import StudentSearch, choose_student
from leafkit.students.folder import MARKER, StudentFacts, read_student
from leafkit.students.spec import Pretrained, Static, StudentSpec, parse_student
from leafkit.students.student import Student
from leafkit.teachers.open import open_teacher as open_any_teacher
from leafkit.texts.options import TextOptions
from leafkit.texts.table import Sources, TextTable
from leafkit.training.ask import TeacherAsk, count_asked
from leafkit.training.companions import Companions
from leafkit.training.corpus import Corpus, read_corpus, with_training_texts
from leafkit.training.facts import check_facts
from leafkit.training.finish import finish, training_record
from leafkit.training.generations import Generations
from leafkit.training.live import LIVE_SIGNALS, LiveTeacher, check_prompts, check_tokenizer, live_model
from leafkit.training.peers import check_peers, peers_of
from leafkit.training.run import Run
from leafkit.training.source import teacher_model
from leafkit.training.start import build_start, has_start, new_student, reads_all_targets
from leafkit.training.tensorboard import tensorboard_report
from leafkit.types import Teacher
from leafkit.vectors.adopted import adopted_space, exact_teacher
from leafkit.vectors.mapping import read_mapping
from leafkit.vectors.store import is_exact

logger = logging.getLogger("leafkit")

# Width and depth of a student that a search has yet to find: no upper bound of a method refuses them.
UNKNOWN = 1 << 20


def lead(
    run: Run,
    texts: Sources,
    reading: TextOptions,
    open_teacher: Callable[[], Teacher],
) -> StudentFacts:
    """Distil in the main process: prepare, train, and write the student.

    ``texts`` are the sources of texts, read with the options ``reading``. The teacher is opened only after the texts
    have been read, and is released before training unless a method needs it in each step.
    """
    search = choose_student(run.student, run.architecture, run.budget)
    check_output_folder(run.out, marker=MARKER, overwrite=run.options.overwrite)
    corpus = read_corpus(texts, reading, seed=run.recipe.seed)
    opened = open_teacher()
    check_teacher(opened)
    # The run works in the teacher's own space, so that copies of a model never share cached vectors.
    teacher, adopted = exact_teacher(opened), adopted_space(opened)
    del opened
    check_plan(run, corpus, teacher)
    with run.folder.locked():
        run.folder.claim(description(run, corpus, teacher))
        asked: set[bytes] = set()
        corpus, spec = prepare(run, corpus, teacher, search, asked)
        companions = open_companions(run, corpus, teacher, asked)
        del teacher  # its memory is needed for training, unless methods use it there
        run.accelerator.wait_for_everyone()
        generations = train(run, companions)
        used = len(corpus.train) if reads_all_targets(run, spec, len(corpus.train)) else generations.asked
        calls = count_asked(asked, corpus.train.keys, used)
        record = training_record(run, corpus, generations, student=search.name, asked=calls)
        return finish(run, generations, record, adopted)


def prepare(
    run: Run, corpus: Corpus, teacher: Teacher, search: StudentSearch, asked: set[bytes]
) -> tuple[Corpus, StudentSpec]:
    """Make the training texts and the start of the student; return the corpus to train on and what the student is.

    The methods check their sizes before the teacher encodes a text. What a writer or a search decides is checked after
    it. An earlier call that wrote the start has checked the same. The keys of the texts that a writer asks the teacher
    about are added to ``asked``.
    """
    resumed = has_start(run)
    spec = search.named
    student = None if resumed else early_student(run, teacher, spec)
    if not resumed:
        check_sizes(run, corpus, teacher, spec, student)
        check_other_teachers(run)
    if run.plan.writer is not None or spec is None:
        corpus = write_texts(run, corpus, teacher, asked)
        spec = search.student(run.folder.path, teacher, corpus.train.texts, run.recipe.seed)
        if not resumed:
            student = student or early_student(run, teacher, spec)
            check_sizes(run, corpus, teacher, spec, student, written=True)
    build_start(run, corpus, teacher, spec, student)
    return corpus, spec


def early_student(run: Run, teacher: Teacher, spec: StudentSpec | None) -> Student | None:
    """Build the student ``spec`` if that needs no vector of the teacher; return None for a token table or no spec.

    Raises `OptionError` if the teacher or a peer has to read the student's token ids, and cannot.
    """
    if spec is None:
        return None
    student = None if isinstance(spec, Static) else new_student(run, teacher, spec)
    if student is not None:
        check_tokenizer(run, teacher, student)
    check_peers(run, teacher, student)
    return student


def check_sizes(
    run: Run,
    corpus: Corpus,
    teacher: Teacher,
    spec: StudentSpec | None,
    student: Student | None,
    *,
    written: bool = False,
) -> None:
    """Raise `OptionError` if a method cannot work with the texts of ``corpus`` and the student.

    ``written`` says that the plan's writer has already made these texts. While a search has yet to find the student
    (``spec`` is None), the student counts as large enough for any method.
    """
    if isinstance(spec, Static):
        width, depth = spec.dim, 0
    else:
        width, depth = (UNKNOWN, UNKNOWN) if student is None else (student.head.in_features, student.depth)
    if isinstance(spec, Pretrained) and isinstance(spec.layers, int):
        depth = spec.layers  # with pick=greedy, the layers to keep are chosen later
    # A writer makes texts from the texts as they were read, so it is not asked about those that it made.
    plan = dataclasses.replace(run.plan, writer=None) if written else run.plan
    check_facts(plan, run.recipe, corpus.train, dim=teacher.space.dim, width=width, depth=depth)


def check_other_teachers(run: Run) -> None:
    """Raise `InputError` if another teacher that a method names cannot be opened."""
    for method in run.plan.step_methods.values():
        for name in method.other_teachers:
            open_any_teacher(name, device=run.device)


def follow(run: Run) -> StudentFacts:
    """Train along with the main process, and wait until it has written the student."""
    run.accelerator.wait_for_everyone()
    train(run, Companions())
    run.accelerator.wait_for_everyone()
    return read_student(run.out)


def check_teacher(teacher: Teacher) -> None:
    """Raise `OptionError` if ``teacher`` is a student, because a student's vectors are only approximate."""
    if not is_exact(teacher):
        raise OptionError(
            f"a student cannot teach: its vectors only approximate those of {teacher.space.teacher}, and errors would "
            "add up. Give that teacher itself, and this student as --student to train it further."
        )


def check_plan(run: Run, corpus: Corpus, teacher: Teacher) -> None:
    """Raise `OptionError` if a method of the plan needs a signal that this run does not have; else log the plan.

    A method that runs the teacher inside a step also needs a student with the teacher's prompts.
    """
    signals = teacher.signals | corpus.train.signals() | ({"model"} if teacher_model(teacher) else set())
    table = run.student is not None and isinstance(parse_student(run.student), Static)
    if not table:
        signals |= {"layers", "states"} | (LIVE_SIGNALS if live_model(teacher) is not None else set())
    run.plan.check_needs(signals)
    check_prompts(run, teacher)
    if not run.plan.is_plain_leaf:
        logger.info("the plan:\n%s", run.plan)


def description(run: Run, corpus: Corpus, teacher: Teacher) -> dict[str, Any]:
    """Return everything that decides the result of ``run``; a run resumes only if the description is the same."""
    return {
        "student": run.student,
        "architecture": None if run.architecture is None else str(run.architecture),
        "budget": run.budget,
        "teacher": teacher.space.id,
        **dataclasses.asdict(run.recipe),
        "methods": run.plan.specs,
        "texts": corpus.train.digest(),
        "validation texts": corpus.valid.digest(),
        "training texts": len(corpus.train),
    }


def write_texts(run: Run, corpus: Corpus, teacher: Teacher, asked: set[bytes]) -> Corpus:
    """Return ``corpus`` with the training texts that the plan's writer makes from it; unchanged without a writer.

    The keys of the texts that the writer asks the teacher about are added to ``asked``.
    """
    if run.plan.writer is None:
        return corpus
    ask = TeacherAsk(teacher, run.open_store(teacher.space), asked)
    return with_training_texts(corpus, run.plan.writer.write(corpus.train, ask, run.recipe.seed))


def train(run: Run, companions: Companions) -> Generations:
    """Train all generations of ``run`` with ``companions``, the models beside the student."""
    with tensorboard_report(run.options.tensorboard if run.is_main else None) as report:
        generations = Generations(run, report, companions)
        generations.run()
    return generations


def open_companions(run: Run, corpus: Corpus, teacher: Teacher, asked: set[bytes]) -> Companions:
    """Return what the methods of ``run`` may use beside the student.

    The keys of the texts that methods ask the teacher about are added to ``asked``.
    """
    return Companions(
        corpus=corpus,
        ask=open_ask(run, teacher, asked),
        live=open_live(run, teacher),
        peers=peers_of(run, teacher),
        other_teacher=other_teachers(run, corpus.train),
    )


def open_ask(run: Run, teacher: Teacher, asked: set[bytes]) -> TeacherAsk | None:
    """Keep ``teacher`` to ask it during the training if a method other than a writer needs that."""
    if not any("online" in method.needs for method in run.plan.methods if not isinstance(method, Writer)):
        return None
    mapping = read_mapping(run.folder.start, run.start_facts().space)
    return TeacherAsk(teacher, run.open_store(teacher.space), asked, mapping=mapping, log=run.folder.asked)


def open_live(run: Run, teacher: Teacher) -> LiveTeacher | None:
    """Take over the model of ``teacher`` if a method needs it in each step; return None otherwise."""
    model = live_model(teacher)
    if model is None or not any(map(run.plan.needs, LIVE_SIGNALS)):
        return None
    if any("online" in method.needs for method in run.plan.methods):
        model = copy.deepcopy(model)  # a live model computes in another precision than the teacher that is asked
    space = run.start_facts().space
    return LiveTeacher(model, run.recipe.precision, read_mapping(run.folder.start, space))


def other_teachers(run: Run, texts: TextTable) -> Callable[[str], Gather]:
    """Return a function that opens another teacher by name and returns a function for its vectors of ``texts``.

    The vectors are cached like those of the first teacher.
    """

    def teach(name: str) -> Gather:
        teacher = open_any_teacher(name, device=run.device)
        store = run.open_store(teacher.space)
        places = store.fill(teacher, texts.texts, texts.roles)
        return lambda rows: store.gather(places[rows])

    return teach
