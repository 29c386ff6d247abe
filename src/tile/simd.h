/* The vector vocabulary of one level and one dtype, for tile.h.
 *
 * Takes  SIMD, one of the sections named below;
 *        REAL_IS_DOUBLE.
 * Gives  REAL, VEC, LANES, REGISTERS, V_SET1(x), V_LOAD(p), V_STORE(p, v), V_ADD(a, b),
 *        V_LOAD_FIRST(p, n), which has zeros behind the first n numbers and does not read there,
 *        V_STORE_FIRST(p, n, v), the reverse,
 *        V_FMA(a, b, c) = a·b + c, and V_FUSED, whether it is rounded once,
 *        PIECE, the numbers in 128 bits, or 1 where a vector is a single number:
 *        V_LOAD_PIECES(p, pitch) and V_STORE_PIECES(p, pitch, v) take the pieces of a vector from
 *        p, p + pitch, ..., and V_PIECES(row, at) from row[0] + at, row[PIECE] + at, ...,
 *        V_ZIP_LOW(a, b) and V_ZIP_HIGH(a, b): of each piece the lower, or upper, half, a number
 *        of a and one of b by turns,
 *        F16_WIDEN(halves, values) and F16_NARROW(values, halves) for F16_LANES of float16; if
 *        the level has no instructions for them F16_LANES is 0, and the two do nothing,
 *        V_MERGE(a, b, S, K): a, but b's number i·S - K·LANES for its number i, where b has that;
 *        only if V_MERGES, which asks for a compiler that shuffles by constants,
 *        V_PIN(v), which keeps a loaded vector in its register: GCC otherwise folds the load
 *        into every multiply-add that uses the vector, and the loads take twice the time, and
 *        V_HERE(p), which keeps loads through a pointer behind those that come before: for neon
 *        GCC otherwise loads the operands of several terms at once, and up to six accumulators
 *        of a tile are in memory instead of registers.
 *
 * Included once for each level and dtype, so there is no include guard.
 */
#define SIMD_NONE 1 /* one lane */
#define SIMD_SSE2 2
#define SIMD_AVX2 3
#define SIMD_AVX512 4
#define SIMD_NEON 5
#ifndef SIMD
#error "simd.h needs SIMD"
#endif

#undef REAL
#undef VEC
#undef LANES
#undef REGISTERS
#undef V_OP
#undef V_SET1
#undef V_LOAD
#undef V_STORE
#undef V_LOAD_FIRST
#undef V_STORE_FIRST
#undef V_FIRST
#undef V_ADD
#undef V_FMA
#undef V_FUSED
#undef V_PIECES
#undef V_PIN
#undef V_EACH
#undef V_MERGE
#undef V_MERGES
#undef V_HERE
#undef PIECE
#undef V_LOAD_PIECE
#undef V_STORE_PIECE
#undef V_LOAD_PIECES
#undef V_STORE_PIECES
#undef V_ZIP_LOW
#undef V_ZIP_HIGH
#undef V_WIDE
#undef V_NARROW
#undef V_INSERT
#undef V_EXTRACT
#undef IF_DOUBLE
#undef F16_LANES
#undef F16_WIDEN
#undef F16_NARROW
#undef PIN_CLASS

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

#ifdef REAL_IS_DOUBLE
#define REAL double
#define IF_DOUBLE(yes, no) yes
#else
#define REAL float
#define IF_DOUBLE(yes, no) no
#endif

#if SIMD == SIMD_AVX512 || SIMD == SIMD_AVX2 || SIMD == SIMD_SSE2

#if SIMD == SIMD_AVX512
#define VEC IF_DOUBLE(__m512d, __m512)
#define V_OP(operation) CAT(_mm512_##operation, IF_DOUBLE(_pd, _ps))
#define REGISTERS 32
#define PIN_CLASS "+v"
#elif SIMD == SIMD_AVX2
#define VEC IF_DOUBLE(__m256d, __m256)
#define V_OP(operation) CAT(_mm256_##operation, IF_DOUBLE(_pd, _ps))
#define REGISTERS 16
#define PIN_CLASS "+x"
#else
#define VEC IF_DOUBLE(__m128d, __m128)
#define V_OP(operation) CAT(_mm_##operation, IF_DOUBLE(_pd, _ps))
#define REGISTERS 16
#define PIN_CLASS "+x"
#endif

#define V_SET1(x) V_OP(set1)(x)
#define V_LOAD(p) V_OP(loadu)(p)
#define V_STORE(p, v) V_OP(storeu)(p, v)
#define V_ADD(a, b) V_OP(add)(a, b)
#if SIMD == SIMD_AVX512
#define V_FIRST(n) ((n) >= LANES ? (1 << LANES) - 1 : (n) > 0 ? (1 << (n)) - 1 : 0)
#define V_LOAD_FIRST(p, n) V_OP(maskz_loadu)(V_FIRST(n), p)
#define V_STORE_FIRST(p, n, v) V_OP(mask_storeu)(p, V_FIRST(n), v)
#elif SIMD == SIMD_AVX2
#define V_FIRST(n)                                                                               \
    IF_DOUBLE(                                                                                   \
        _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3)),               \
        _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)))
#define V_LOAD_FIRST(p, n) V_OP(maskload)(p, V_FIRST(n))
#define V_STORE_FIRST(p, n, v) V_OP(maskstore)(p, V_FIRST(n), v)
#endif
#if SIMD == SIMD_SSE2
#define V_FMA(a, b, c) V_OP(add)(V_OP(mul)(a, b), c)
#else
#define V_FMA(a, b, c) V_OP(fmadd)(a, b, c)
#endif
#define V_ZIP_LOW(a, b) V_OP(unpacklo)(a, b)
#define V_ZIP_HIGH(a, b) V_OP(unpackhi)(a, b)

#define V_LOAD_PIECE(p) IF_DOUBLE(_mm_loadu_pd, _mm_loadu_ps)(p)
#define V_STORE_PIECE(p, piece) IF_DOUBLE(_mm_storeu_pd, _mm_storeu_ps)(p, piece)
#if SIMD == SIMD_AVX512
#define V_LOAD_PIECES(p, pitch)                                                                  \
    V_INSERT(V_INSERT(V_INSERT(V_WIDE(V_LOAD_PIECE(p)), V_LOAD_PIECE((p) + (pitch)), 1),         \
                      V_LOAD_PIECE((p) + 2 * (pitch)), 2),                                       \
             V_LOAD_PIECE((p) + 3 * (pitch)), 3)
#define V_PIECES(row, at)                                                                        \
    V_INSERT(V_INSERT(V_INSERT(V_WIDE(V_LOAD_PIECE((row)[0] + (at))),                            \
                               V_LOAD_PIECE((row)[PIECE] + (at)), 1),                            \
                      V_LOAD_PIECE((row)[2 * PIECE] + (at)), 2),                                 \
             V_LOAD_PIECE((row)[3 * PIECE] + (at)), 3)
#define V_STORE_PIECES(p, pitch, v)                                                              \
    (V_STORE_PIECE(p, V_NARROW(v)), V_STORE_PIECE((p) + (pitch), V_EXTRACT(v, 1)),               \
     V_STORE_PIECE((p) + 2 * (pitch), V_EXTRACT(v, 2)),                                          \
     V_STORE_PIECE((p) + 3 * (pitch), V_EXTRACT(v, 3)))
#define V_WIDE(piece) IF_DOUBLE(_mm512_castpd128_pd512, _mm512_castps128_ps512)(piece)
#define V_NARROW(v) IF_DOUBLE(_mm512_castpd512_pd128, _mm512_castps512_ps128)(v)
#define V_INSERT(v, piece, i) IF_DOUBLE(_mm512_insertf64x2, _mm512_insertf32x4)(v, piece, i)
#define V_EXTRACT(v, i) IF_DOUBLE(_mm512_extractf64x2_pd, _mm512_extractf32x4_ps)(v, i)
#elif SIMD == SIMD_AVX2
#define V_LOAD_PIECES(p, pitch)                                                                  \
    V_OP(insertf128)(V_WIDE(V_LOAD_PIECE(p)), V_LOAD_PIECE((p) + (pitch)), 1)
#define V_PIECES(row, at)                                                                        \
    V_OP(insertf128)(V_WIDE(V_LOAD_PIECE((row)[0] + (at))), V_LOAD_PIECE((row)[PIECE] + (at)), 1)
#define V_STORE_PIECES(p, pitch, v)                                                              \
    (V_STORE_PIECE(p, V_NARROW(v)), V_STORE_PIECE((p) + (pitch), V_OP(extractf128)(v, 1)))
#define V_WIDE(piece) IF_DOUBLE(_mm256_castpd128_pd256, _mm256_castps128_ps256)(piece)
#define V_NARROW(v) IF_DOUBLE(_mm256_castpd256_pd128, _mm256_castps256_ps128)(v)
#endif

#elif SIMD == SIMD_NEON

#define VEC IF_DOUBLE(float64x2_t, float32x4_t)
#define V_OP(operation) CAT(operation, IF_DOUBLE(_f64, _f32))
#define REGISTERS 32
#define PIN_CLASS "+w"
#define V_SET1(x) V_OP(vdupq_n)(x)
#define V_LOAD(p) V_OP(vld1q)(p)
#define V_STORE(p, v) V_OP(vst1q)(p, v)
#define V_ADD(a, b) V_OP(vaddq)(a, b)
#define V_FMA(a, b, c) V_OP(vfmaq)(c, a, b)
#define V_ZIP_LOW(a, b) V_OP(vzip1q)(a, b)
#define V_ZIP_HIGH(a, b) V_OP(vzip2q)(a, b)

#else

#define VEC REAL
#define REGISTERS 16
#define V_SET1(x) (x)
#define V_LOAD(p) (*(p))
#define V_STORE(p, v) (*(p) = (v))
#define V_ADD(a, b) ((a) + (b))
#define V_FMA(a, b, c) ((a) * (b) + (c))
#define V_ZIP_LOW(a, b) (a)
#define V_ZIP_HIGH(a, b) (b)

#endif

#define LANES ((int)(sizeof(VEC) / sizeof(REAL)))
#define V_FUSED (SIMD != SIMD_NONE && SIMD != SIMD_SSE2)
#if SIMD == SIMD_NONE
#define PIECE 1
#else
#define PIECE ((int)(16 / sizeof(REAL)))
#endif
#ifndef V_LOAD_PIECES /* a vector is one piece */
#define V_LOAD_PIECES(p, pitch) V_LOAD(p)
#define V_PIECES(row, at) V_LOAD((row)[0] + (at))
#define V_STORE_PIECES(p, pitch, v) V_STORE(p, v)
#endif

/* Some halves at once, in the bits of half.h. */
#if !defined(REAL_IS_DOUBLE) && (SIMD == SIMD_AVX512 || SIMD == SIMD_AVX2)
#define F16_LANES 8
#define F16_WIDEN(halves, values)                                                                \
    _mm256_storeu_ps(values, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(halves))))
#define F16_NARROW(values, halves)                                                               \
    _mm_storeu_si128((__m128i *)(halves),                                                        \
                     _mm256_cvtps_ph(_mm256_loadu_ps(values), _MM_FROUND_TO_NEAREST_INT))
#else
#define F16_LANES 0
#define F16_WIDEN(halves, values) ((void)0)
#define F16_NARROW(values, halves) ((void)0)
#endif

#if SIMD == SIMD_AVX512
#define V_EACH IF_DOUBLE(EACH_8, EACH_16)
#elif SIMD == SIMD_AVX2
#define V_EACH IF_DOUBLE(EACH_4, EACH_8)
#else
#define V_EACH IF_DOUBLE(EACH_2, EACH_4)
#endif
#if !defined(EACH_2)
#define EACH_2(S, K, I) MERGED(S, K, I), MERGED(S, K, I + 1)
#define EACH_4(S, K, I) EACH_2(S, K, I), EACH_2(S, K, I + 2)
#define EACH_8(S, K, I) EACH_4(S, K, I), EACH_4(S, K, I + 4)
#define EACH_16(S, K, I) EACH_8(S, K, I), EACH_8(S, K, I + 8)
#define MERGED(S, K, I) ((I) * (S) / LANES == (K) ? LANES + (I) * (S) % LANES : (I))
#endif
#ifdef __has_builtin
#define V_MERGES (SIMD != SIMD_NONE && __has_builtin(__builtin_shufflevector))
#else
#define V_MERGES 0
#endif
#define V_MERGE(a, b, S, K) __builtin_shufflevector(a, b, V_EACH(S, K, 0))

#if defined(__GNUC__) && defined(PIN_CLASS)
#define V_PIN(v) __asm__("" : PIN_CLASS(v))
#else
#define V_PIN(v) ((void)0)
#endif

#if defined(__GNUC__) && !defined(__clang__) && SIMD == SIMD_NEON
#define V_HERE(pointer) HERE(pointer)
#else
#define V_HERE(pointer) ((void)0)
#endif
