/* What a build with CCONV1D_DEBUG=1 checks besides: assertions, and warnings as errors.
 *
 * Our own C files include it after the headers of the system; in what Cython generates, warnings
 * stay warnings.
 */
#ifndef CC_DEBUG_H
#define CC_DEBUG_H

#ifdef CC_DEBUG
#include <assert.h>
#define cc_assert(condition) assert(condition)
#if defined(__GNUC__) && !defined(CYTHON_HEX_VERSION)
#pragma GCC diagnostic error "-Wall"
#pragma GCC diagnostic error "-Wextra"
#endif
#else
#define cc_assert(condition) ((void)0)
#endif

#endif
