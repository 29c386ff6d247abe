"""Calls of the public functions in any order, with settings that change between them.

What one call leaves behind, such as a remembered plan or a number of threads, must not show in the
results of the next.
"""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
from calls import BOTH, DTYPES, MOST, a_call, a_target
from conftest import BACKENDS, selected
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support import READABLE, tuned

import cconv1d
from cconv1d import _backend

#: Options that take an integer, in one of these types, too, but in none of those.
NUMBERS = ("stride", "padding", "dilation")
AS_WELL = (np.int64, np.array, lambda n: [n], lambda n: (np.uint64(n),))
REFUSED = (float, str, np.float32, lambda n: [n] * 3, lambda n: n == 1 if n < 2 else 1j)


def movable(array):
    return isinstance(array, np.ndarray) and array.dtype in DTYPES and array.size <= MOST


class Calls(RuleBasedStateMachine):
    """Backend, level and numbers of threads, and the calls that were made so far."""

    def __init__(self):
        super().__init__()
        self.backend = ExitStack()
        self.before = self.threads = cconv1d.get_num_threads()
        self.limits = []
        self.calls = []

    def teardown(self):
        while self.limits:
            self.limits.pop()[0].close()
        self.backend.close()
        cconv1d.set_num_threads(self.before)

    def keep(self, call, out, choose):
        call.run(out, out is not None and choose(BOTH))
        self.calls = [*self.calls[-8:], (call, out)]

    @rule(data=st.data())
    def call(self, data):
        def choose(options):
            return data.draw(st.sampled_from(options))

        call = a_call(choose, extreme=_backend.core is not None)
        if call is not None:
            self.keep(call, a_target(choose, call), choose)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def again(self, data):
        """With the same objects, or the same numbers in other memory."""

        def choose(options):
            return data.draw(st.sampled_from(options))

        call, out = choose(self.calls)
        if choose(BOTH):
            arrays = {
                name: READABLE[choose(sorted(READABLE))](array.copy()) if movable(array) else array
                for name, array in call.arrays.items()
            }
            call = call._replace(arrays=arrays)
        self.keep(call, out, choose)

    @precondition(lambda self: self.calls)
    @rule()
    def again_with_other_types(self):
        """What is equal to an integer is not always one."""
        call, _ = self.calls[-1]
        for name in NUMBERS:
            number = call.options.get(name)
            if type(number) is int:
                for cast in AS_WELL:
                    call._replace(options=call.options | {name: cast(number)}).run()
                for cast in REFUSED:
                    options = call.options | {name: cast(number)}
                    errors = (ValueError, TypeError)
                    call._replace(
                        options=options, expected=None, errors=errors, may_pass=False
                    ).run()

    @rule(count=st.integers(1, 4))
    def set_num_threads(self, count):
        cconv1d.set_num_threads(count)
        if _backend.core is not None:
            self.threads = count

    @rule(count=st.integers(1, 4))
    def enter_num_threads(self, count):
        stack = ExitStack()
        stack.enter_context(cconv1d.num_threads(count))
        self.limits.append((stack, count))

    @precondition(lambda self: self.limits)
    @rule()
    def leave_num_threads(self):
        self.limits.pop()[0].close()

    @precondition(lambda self: not self.limits)  # which are the extension's
    @rule(name=st.sampled_from(BACKENDS), shared=st.booleans())
    def use(self, name, shared):
        self.backend.close()
        self.backend.enter_context(selected(name))
        self.calls.clear()  # some take the reference forever
        if _backend.core is not None and shared:  # however small the work is
            self.backend.enter_context(tuned(serial_products=0))

    @invariant()
    def the_number_of_threads_is_what_was_said(self):
        expected = self.limits[-1][1] if self.limits else self.threads
        assert cconv1d.get_num_threads() == (expected if _backend.core is not None else 1)


TestCalls = pytest.mark.thread_unsafe(Calls.TestCase)
TestCalls.settings = settings(stateful_step_count=20)
