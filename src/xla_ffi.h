/* What XLA, the compiler below JAX, gives to a function that it calls and takes from it: of its
 * foreign function interface, version 0, the structs that src/nest/xla.pxi uses, up to the last
 * member that it needs. The names are ours. The order and types of members are the interface, which
 * XLA keeps: new members come behind these, and each struct begins with its size as the caller has
 * it.
 *
 * Nothing of XLA is needed to compile this, and nothing is linked: XLA gets our function's address
 * and passes a table of its own with every call.
 */
#ifndef CC_XLA_FFI_H
#define CC_XLA_FFI_H

#include <stddef.h>
#include <stdint.h>

/* The oldest minor version whose structs begin like these. Newer ones do, too: another minor number
 * means new members behind the old ones, a change of these would be another major one. XLA refuses
 * minor numbers that are not its own after a year or so, therefore it is told its own. */
enum { CC_XLA_MINOR = 1 };

enum { CC_XLA_EXECUTE = 3 };  /* of the stages, the one with arguments */
enum { CC_XLA_METADATA = 1 }; /* of the kinds of extensions, the question for our version */
enum { CC_XLA_INVALID_ARGUMENT = 3, CC_XLA_RESOURCE_EXHAUSTED = 8 };
enum { CC_XLA_ATTRIBUTE_ARRAY = 1 };

/* Types of numbers. */
enum {
    CC_XLA_INT64 = 5,
    CC_XLA_FLOAT16 = 10,
    CC_XLA_FLOAT32 = 11,
    CC_XLA_FLOAT64 = 12,
    CC_XLA_COMPLEX64 = 15,
    CC_XLA_BFLOAT16 = 16,
    CC_XLA_COMPLEX128 = 18
};

typedef struct cc_xla_extension {
    size_t size;
    int kind;
    struct cc_xla_extension *next;
} cc_xla_extension;

typedef struct {
    size_t size;
    cc_xla_extension *extensions;
    int major, minor;
} cc_xla_version;

typedef struct {
    size_t size;
    cc_xla_version version;
} cc_xla_metadata;

typedef struct {
    cc_xla_extension base;
    cc_xla_metadata *metadata;
} cc_xla_metadata_extension;

typedef struct cc_xla_error cc_xla_error; /* XLA's own; NULL is none */

typedef struct {
    size_t size;
    cc_xla_extension *extensions;
    const char *message;
    int code;
} cc_xla_error_arguments;

typedef struct {
    size_t size;
    cc_xla_extension *extensions;
    cc_xla_version version;
    const void *internal;
    cc_xla_error *(*create_error)(cc_xla_error_arguments *);
} cc_xla_api;

/* An array in memory, the last axis first. */
typedef struct {
    size_t size;
    cc_xla_extension *extensions;
    int type;
    void *data;
    int64_t rank;
    int64_t *shape;
} cc_xla_buffer;

typedef struct {
    size_t size;
    cc_xla_extension *extensions;
    int64_t count;
    int *kinds; /* all are buffers */
    cc_xla_buffer **buffers;
} cc_xla_buffers;

/* An attribute that is an array. */
typedef struct {
    int type;
    size_t count;
    void *data;
} cc_xla_numbers;

typedef struct {
    size_t size;
    cc_xla_extension *extensions;
    int64_t count;
    int *kinds;
    void **names; /* in their order */
    void **values;
} cc_xla_attributes;

typedef struct {
    size_t size;
    cc_xla_extension *extensions;
    const cc_xla_api *api;
    void *context;
    int stage;
    cc_xla_buffers arguments, results;
    cc_xla_attributes attributes;
} cc_xla_call;

#endif
