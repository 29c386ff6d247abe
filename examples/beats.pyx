# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False
"""What beat_finder.py builds: convolutions and a search between them, without the GIL."""

from cconv1d cimport (
    CCONV1D_FLOAT32, CCONV1D_OK, CCONV1D_ZEROS, cconv1d_api, cconv1d_array, cconv1d_contiguous,
    cconv1d_geometry, cconv1d_import)

import numpy as np

cdef const cconv1d_api *cc = cconv1d_import()


def find(
    const float[::1] signal, const float[:, ::1] templates, float least, Py_ssize_t apart,
    Py_ssize_t block=4096,
):
    """Where the best score of all templates is the largest within `apart` samples, and whose it is.

    A score is the sum of a template times the samples from a position on. There are scores of a
    block of positions at a time, so a recording takes no memory but its own.
    """
    cdef Py_ssize_t kinds = templates.shape[0], taps = templates.shape[1]
    cdef Py_ssize_t positions = signal.shape[0] - taps + 1, begin, count, p, kind, best, found = 0
    cdef Py_ssize_t candidate = -1, candidate_kind = 0
    cdef float score, highest = 0
    cdef float[::1] scores = np.empty(kinds * block, np.float32)
    cdef Py_ssize_t[:, ::1] result = np.empty((max(positions, 0) // (apart + 1) + 1, 2), np.intp)
    cdef cconv1d_geometry geometry = cconv1d_geometry(
        stride=1, dilation=1, pad_left=0, pad_right=0, groups=1, mode=CCONV1D_ZEROS)
    cdef cconv1d_array x, w = cconv1d_contiguous(CCONV1D_FLOAT32, &templates[0, 0], kinds, 1, taps)
    cdef cconv1d_array y
    cdef int status = CCONV1D_OK
    with nogil:
        for begin from 0 <= begin < positions by block:
            count = min(block, positions - begin)
            x = cconv1d_contiguous(CCONV1D_FLOAT32, &signal[begin], 1, 1, count + taps - 1)
            y = cconv1d_contiguous(CCONV1D_FLOAT32, &scores[0], 1, kinds, count)
            status = cc.forward(CCONV1D_FLOAT32, &x, &w, NULL, &y, &geometry)
            if status != CCONV1D_OK:
                break
            for p in range(count):
                best = 0
                score = scores[p]
                for kind in range(1, kinds):
                    if scores[kind * count + p] > score:
                        best, score = kind, scores[kind * count + p]
                if candidate >= 0 and begin + p - candidate > apart:
                    result[found, 0], result[found, 1] = candidate, candidate_kind
                    found += 1
                    candidate = -1
                if score >= least and (candidate < 0 or score > highest):
                    candidate, candidate_kind, highest = begin + p, best, score
    if status != CCONV1D_OK:
        raise ValueError(cc.describe(status).decode())
    if candidate >= 0:
        result[found, 0], result[found, 1] = candidate, candidate_kind
        found += 1
    return np.asarray(result)[:found].copy()
