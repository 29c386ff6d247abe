/* One level of instruction set: all tiles for float32 and float64, and rows of halves.
 *
 * Takes  LEVEL, the name of the level, which its functions begin with;
 *        SIMD, the section of simd.h that it computes with;
 *        FEATURES, the instructions it may use besides those of every processor, as the compilers'
 *        attribute `target` names them; undefined for the lowest level;
 *        NARROWER, the level before it that has half the lanes and the same bits, if there is one.
 * Gives  LEVEL_f32_tiles, LEVEL_f64_tiles, LEVEL_f32_float16, LEVEL_f32_bfloat16,
 *        LEVEL_f32_transforms and LEVEL_f64_transforms, for the table of tiles.c. What it takes is
 *        undefined at the end, for the next level.
 */
#ifdef FEATURES
REGION(FEATURES)
#endif

#define TILE(name) CAT(CAT(LEVEL, _f32_), name)
#define NARROWER_TILE(name) CAT(CAT(NARROWER, _f32_), name)
#include "simd.h"
#include "tile.h"
#include "tile_half.h"
#include "../fft/transform.h"
#undef TILE
#undef NARROWER_TILE

#define TILE(name) CAT(CAT(LEVEL, _f64_), name)
#define NARROWER_TILE(name) CAT(CAT(NARROWER, _f64_), name)
#define REAL_IS_DOUBLE
#include "simd.h"
#include "tile.h"
#include "../fft/transform.h"
#undef REAL_IS_DOUBLE
#undef TILE
#undef NARROWER_TILE

#ifdef FEATURES
END_REGION
#endif
#undef LEVEL
#undef SIMD
#undef FEATURES
#undef NARROWER
